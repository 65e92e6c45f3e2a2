/* SPDX-License-Identifier: MIT */
#ifndef SR_TOOLS_WORDS_H
#define SR_TOOLS_WORDS_H

#include <stddef.h>

/*
 * Splits a command line as a POSIX shell splits it, with no shell: words are separated by blanks,
 * 'single quotes' keep all, "double quotes" keep all but \" and \\, a backslash outside quotes
 * keeps the next character. No variable, pattern or operator means anything.
 *
 * On success *words is an array that ends in NULL, *count its length without that; free it with
 * sr_words_free(). -EINVAL: a quote is not closed or a backslash is last. -ENOMEM.
 */
int sr_words_split(const char *line, char ***words, size_t *count);
/* NULL is allowed. */
void sr_words_free(char **words);

#endif
