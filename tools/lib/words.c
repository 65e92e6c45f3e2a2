/* SPDX-License-Identifier: MIT */
#include <tools/words.h>

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

static bool is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

/* Copies one word from *in to *out, both moved on, and ends it with a NUL. */
static int take_word(const char **in, char **out)
{
	const char *p = *in;
	char *o = *out;
	char quote = '\0';

	for (; *p && (quote || !is_blank(*p)); p++) {
		if (quote == '\'' && *p != '\'') {
			*o++ = *p;
		} else if (*p == '\\' && (!quote || p[1] == '"' || p[1] == '\\')) {
			if (!*++p)
				return -EINVAL;
			*o++ = *p;
		} else if (quote ? *p == quote : (*p == '\'' || *p == '"')) {
			quote = quote ? '\0' : *p;
		} else {
			*o++ = *p;
		}
	}
	if (quote)
		return -EINVAL;
	*o++ = '\0';
	*in = p;
	*out = o;
	return 0;
}

int sr_words_split(const char *line, char ***words, size_t *count)
{
	/* Each word but the last needs a blank behind it: there are at most len / 2 + 1 of them. */
	size_t len = strlen(line), n = 0;
	char **w = malloc((len / 2 + 2) * sizeof(*w) + len + 1);
	char *out;

	if (!w)
		return -ENOMEM;
	out = (char *)(w + len / 2 + 2);
	for (;;) {
		while (is_blank(*line))
			line++;
		if (!*line)
			break;
		w[n++] = out;
		if (take_word(&line, &out)) {
			free(w);
			return -EINVAL;
		}
	}
	w[n] = NULL;
	*words = w;
	*count = n;
	return 0;
}

void sr_words_free(char **words)
{
	free(words);
}
