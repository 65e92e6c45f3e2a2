/* SPDX-License-Identifier: MIT */
#ifndef SR_TOOLS_CFG_H
#define SR_TOOLS_CFG_H

#include <tools/fail.h>

#include <stdbool.h>
#include <stddef.h>

/*
 * Configuration files in xl.cfg(5)'s syntax (key = "string", number, or [list]; # comments), read
 * by libxlutil, checked against a table of keys, so that whoever asks for a value gets a good one.
 * libxlutil keeps no line numbers and no list of keys; this does, for errors that say
 * "FILE:LINE: what is wrong; what to do".
 */

enum sr_cfg_type {
	SR_CFG_STRING,
	SR_CFG_NUMBER, /* from .min to .max */
	SR_CFG_BOOL,   /* 0, 1, and on, off, yes, no, true, false as strings */
	SR_CFG_LIST,   /* of strings; a lone string is a list of one */
};

/* A table of these ends with one whose name is NULL. */
struct sr_cfg_key {
	const char *name;
	enum sr_cfg_type type;
	long min, max;
};

struct sr_cfg;

/*
 * Reads `path`; then each of `more` (NULL, or "key=value" strings that end in NULL) goes over what
 * the file says. A value in `more` needs no quotes where it is neither a number nor a list.
 * Failure: unreadable (-errno), or bad syntax, an unknown key, a value of the wrong kind (-EINVAL).
 */
int sr_cfg_read(const char *path, const char *const *more, const struct sr_cfg_key *keys,
		struct sr_cfg **cfg, struct sr_fail *f);
/* The same from memory; errors call it `name`. */
int sr_cfg_parse(const char *name, const char *text, size_t len, const char *const *more,
		 const struct sr_cfg_key *keys, struct sr_cfg **cfg, struct sr_fail *f);
/* NULL is allowed. */
void sr_cfg_free(struct sr_cfg *cfg);

/* What is returned belongs to the configuration. */
bool sr_cfg_has(const struct sr_cfg *cfg, const char *key);
const char *sr_cfg_string(const struct sr_cfg *cfg, const char *key, const char *fallback);
long sr_cfg_number(const struct sr_cfg *cfg, const char *key, long fallback);
bool sr_cfg_bool(const struct sr_cfg *cfg, const char *key, bool fallback);
/* 0 for a list that is not there. */
size_t sr_cfg_count(const struct sr_cfg *cfg, const char *key);
/* i < sr_cfg_count() */
const char *sr_cfg_item(const struct sr_cfg *cfg, const char *key, size_t i);

/* "FILE:LINE: " of `key`, as sr_fail() lines begin; "FILE: " where the key is not set. */
const char *sr_cfg_where(const struct sr_cfg *cfg, const char *key, char *buf, size_t size);

/* Fails like sr_fail(), the line headed by where `key` stands. */
int sr_cfg_fail(const struct sr_cfg *cfg, const char *key, struct sr_fail *f, int err,
		const char *fmt, ...) __attribute__((format(printf, 5, 6)));

#endif
