/* SPDX-License-Identifier: MIT */
/* A shared object that is no driver. */
int stranger(void);

int stranger(void)
{
	return 7;
}
