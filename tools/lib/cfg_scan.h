/* SPDX-License-Identifier: MIT */
#ifndef SR_TOOLS_CFG_SCAN_H
#define SR_TOOLS_CFG_SCAN_H

#include <stdbool.h>
#include <stddef.h>

/* Finds the settings in a text of xl.cfg(5)'s syntax: which keys stand on which lines. */
struct sr_cfg_scan {
	const char *at, *end;
	unsigned line;
};

/* `text` has to be one that libxlutil has accepted. */
void sr_cfg_scan_init(struct sr_cfg_scan *scan, const char *text, size_t len);
/* The next key, its length and line (from 1). false: no more. */
bool sr_cfg_scan_next(struct sr_cfg_scan *scan, const char **key, size_t *len, unsigned *line);

#endif
