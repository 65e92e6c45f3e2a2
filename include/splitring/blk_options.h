/* SPDX-License-Identifier: MIT */
#ifndef SPLITRING_BLK_OPTIONS_H
#define SPLITRING_BLK_OPTIONS_H

/*
 * The options of a block driver, "size=1G,zeroes=on", read by a table:
 *
 *     struct { uint64_t size; bool zeroes; unsigned direct; char *note; } o = { 0 };
 *     const struct sr_blk_option known[] = {
 *         { "size", SR_BLK_OPTION_SIZE, &o.size, NULL },
 *         { "zeroes", SR_BLK_OPTION_BOOL, &o.zeroes, NULL },
 *         { "direct", SR_BLK_OPTION_CHOICE, &o.direct, "auto on off" },
 *     };
 *     err = sr_blk_options_read(args, args->options, known, 3);
 *
 * Header only, so that a driver in a shared object links with nothing of splitring. Errors are
 * -EINVAL, with one line for the operator in args->error: it names the key and what would be right.
 */

#include <splitring/blk_driver.h>

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifdef __cplusplus
extern "C" {
#endif

enum sr_blk_option_type {
	SR_BLK_OPTION_SIZE,   /* uint64_t: bytes; K, M, G or T behind it are powers of 1024 */
	SR_BLK_OPTION_BOOL,   /* bool: on or off, yes or no, 1 or 0, true or false */
	SR_BLK_OPTION_CHOICE, /* unsigned: the index of the word in `choices` */
	SR_BLK_OPTION_NUMBER, /* uint64_t, decimal or 0x... */
};

struct sr_blk_option {
	const char *key;
	enum sr_blk_option_type type;
	void *value;         /* left alone where the key is not given */
	const char *choices; /* SR_BLK_OPTION_CHOICE: the words, with one space between them */
};

/* Writes the line for the operator and returns `err`, so that `return sr_blk_fail(...)` reads well.
 */
__attribute__((format(printf, 3, 4))) static inline int
sr_blk_fail(const struct sr_blk_open *args, int err, const char *format, ...)
{
	va_list list;

	if (args->error && args->error_size) {
		va_start(list, format);
		vsnprintf(args->error, args->error_size, format, list);
		va_end(list);
	}
	return err;
}

/* A number of `len` characters with K, M, G or T behind it. 0, or -EINVAL. */
static inline int sr_blk_parse_size(const char *text, size_t len, uint64_t *size)
{
	static const char units[] = "KMGT";
	const char *unit;
	char copy[32], *end;
	unsigned shift = 0;
	uint64_t value;

	if (len == 0 || len >= sizeof(copy) || text[0] < '0' || text[0] > '9')
		return -EINVAL;
	memcpy(copy, text, len);
	copy[len] = '\0';
	errno = 0;
	value = strtoull(copy, &end, 0);
	if (errno)
		return -EINVAL;
	if (*end != '\0') {
		unit = strchr(units, *end >= 'a' && *end <= 'z' ? *end - 'a' + 'A' : *end);
		if (!unit || end[1] != '\0')
			return -EINVAL;
		shift = 10 * (unsigned)(unit - units + 1);
	}
	if (shift && value >> (64 - shift))
		return -EINVAL;
	*size = value << shift;
	return 0;
}

/* Is the word text[0..len) the same as `word`? */
static inline bool sr_blk_word_is(const char *text, size_t len, const char *word)
{
	return strlen(word) == len && memcmp(text, word, len) == 0;
}

/* The index of the word among `words` (one space between them), or -1. */
static inline int sr_blk_word_index(const char *words, const char *text, size_t len)
{
	for (int i = 0;; i++) {
		size_t n = strcspn(words, " ");

		if (n == len && memcmp(words, text, len) == 0)
			return i;
		if (words[n] == '\0')
			return -1;
		words += n + 1;
	}
}

/* One value, of `len` characters. */
static inline int sr_blk_option_set(const struct sr_blk_open *args,
				    const struct sr_blk_option *option, const char *text,
				    size_t len)
{
	static const char yes_no[] = "on off yes no 1 0 true false";
	uint64_t number = 0;
	int index;

	switch (option->type) {
	case SR_BLK_OPTION_SIZE:
		if (sr_blk_parse_size(text, len, &number))
			return sr_blk_fail(
			    args, -EINVAL,
			    "%s=%.*s is no size: a number, with K, M, G or T behind it",
			    option->key, (int)len, text);
		*(uint64_t *)option->value = number;
		return 0;
	case SR_BLK_OPTION_NUMBER:
		if (sr_blk_parse_size(text, len, &number) || strchr("KMGTkmgt", text[len - 1]))
			return sr_blk_fail(args, -EINVAL, "%s=%.*s is no number", option->key,
					   (int)len, text);
		*(uint64_t *)option->value = number;
		return 0;
	case SR_BLK_OPTION_BOOL:
		index = sr_blk_word_index(yes_no, text, len);
		if (index < 0)
			return sr_blk_fail(args, -EINVAL, "%s=%.*s: it is on or off", option->key,
					   (int)len, text);
		*(bool *)option->value = index % 2 == 0;
		return 0;
	case SR_BLK_OPTION_CHOICE:
		index = sr_blk_word_index(option->choices, text, len);
		if (index < 0)
			return sr_blk_fail(args, -EINVAL, "%s=%.*s: it is one of: %s", option->key,
					   (int)len, text, option->choices);
		*(unsigned *)option->value = (unsigned)index;
		return 0;
	}
	return -EINVAL;
}

/* The keys of the table as "a, b, c". */
static inline void sr_blk_option_names(const struct sr_blk_option *known, size_t count, char *names,
				       size_t size)
{
	size_t at = 0;

	names[0] = '\0';
	for (size_t i = 0; i < count && at < size; i++)
		at += (size_t)snprintf(names + at, size - at, "%s%s", i ? ", " : "", known[i].key);
}

/*
 * Reads "key=value,key=value" (or "") by the table of `count` known keys. A key that is not in the
 * table, one given twice and a value that does not fit are errors; the table may have up to 32
 * keys.
 */
static inline int sr_blk_options_read(const struct sr_blk_open *args, const char *text,
				      const struct sr_blk_option *known, size_t count)
{
	uint32_t seen = 0;

	while (*text) {
		size_t len = strcspn(text, ","), key = strcspn(text, "=,"), i = 0;
		char names[256];
		int err;

		while (i < count && !sr_blk_word_is(text, key, known[i].key))
			i++;
		sr_blk_option_names(known, count, names, sizeof(names));
		if (i == count)
			return sr_blk_fail(args, -EINVAL, "unknown option '%.*s'; known are: %s",
					   (int)key, text, count ? names : "none");
		if (key == len)
			return sr_blk_fail(args, -EINVAL, "option %s needs a value: %s=...",
					   known[i].key, known[i].key);
		if (i < 32 && seen & 1u << i)
			return sr_blk_fail(args, -EINVAL, "option %s is given twice", known[i].key);
		err = sr_blk_option_set(args, &known[i], text + key + 1, len - key - 1);
		if (err)
			return err;
		if (i < 32)
			seen |= 1u << i;
		text += len;
		if (*text == ',' && *++text == '\0')
			return sr_blk_fail(args, -EINVAL,
					   "an option is missing after the last comma");
	}
	return 0;
}

#ifdef __cplusplus
}
#endif

#endif
