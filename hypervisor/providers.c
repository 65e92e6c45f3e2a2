/* SPDX-License-Identifier: MIT */
#include <provider.h>

const struct sr_provider *const sr_providers[] = {
	&sr_provider_embedded,
	&sr_provider_embedded_strict,
	&sr_provider_faulty,
	&sr_provider_xen,
	NULL,
};
