/* SPDX-License-Identifier: MIT */
#include <tools/fail.h>

#include <stdarg.h>
#include <stdio.h>

int sr_fail(struct sr_fail *f, int err, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(f->line, sizeof(f->line), fmt, ap);
	va_end(ap);
	for (char *p = f->line; *p; p++) {
		unsigned char c = (unsigned char)*p;

		if (c < 0x20 || c == 0x7f)
			*p = '?';
	}
	return -err;
}
