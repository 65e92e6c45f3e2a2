/* SPDX-License-Identifier: MIT */
#include "cfg_scan.h"

#include <ctype.h>

void sr_cfg_scan_init(struct sr_cfg_scan *scan, const char *text, size_t len)
{
	scan->at = text;
	scan->end = text + len;
	scan->line = 1;
}

static bool is_word(char c)
{
	return isalnum((unsigned char)c) || c == '_';
}

/* Behind a string's closing quote; a string ends with its line at the latest. */
static void skip_string(struct sr_cfg_scan *s)
{
	char quote = *s->at++;

	while (s->at < s->end && *s->at != quote && *s->at != '\n') {
		if (*s->at == '\\' && s->at + 1 < s->end)
			s->at++;
		s->at++;
	}
	if (s->at < s->end && *s->at == quote)
		s->at++;
}

static void skip_comment(struct sr_cfg_scan *s)
{
	while (s->at < s->end && *s->at != '\n')
		s->at++;
}

/* Behind the newline or semicolon that ends a setting; a list may hold newlines. */
static void skip_setting(struct sr_cfg_scan *s)
{
	unsigned depth = 0;

	while (s->at < s->end) {
		char c = *s->at;

		if (c == '"' || c == '\'') {
			skip_string(s);
			continue;
		}
		if (c == '#') {
			skip_comment(s);
			continue;
		}
		s->at++;
		if (c == '[')
			depth++;
		else if (c == ']' && depth)
			depth--;
		if (c == '\n')
			s->line++;
		if ((c == '\n' || c == ';') && !depth)
			return;
	}
}

bool sr_cfg_scan_next(struct sr_cfg_scan *s, const char **key, size_t *len, unsigned *line)
{
	while (s->at < s->end) {
		const char *start = s->at;

		if (!is_word(*start)) {
			if (*start == '#') {
				skip_comment(s);
				continue;
			}
			if (*start == '\n')
				s->line++;
			s->at++;
			continue;
		}
		while (s->at < s->end && is_word(*s->at))
			s->at++;
		*key = start;
		*len = (size_t)(s->at - start);
		*line = s->line;
		skip_setting(s);
		return true;
	}
	return false;
}
