/* SPDX-License-Identifier: MIT */
#include <common/xs.h>

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A guest that writes its nodes all the time makes our transactions conflict, but not for ever. */
#define SR_XS_TRIES 100u

int sr_parse_u64(const char *text, uint64_t max, uint64_t *value)
{
	uint64_t v = 0;

	if (!*text)
		return -EINVAL;
	for (; *text; text++) {
		unsigned digit = (unsigned char)*text - '0';

		if (digit > 9 || v > (UINT64_MAX - digit) / 10)
			return -EINVAL;
		v = v * 10 + digit;
	}
	if (v > max)
		return -EINVAL;
	*value = v;
	return 0;
}

int sr_xs_path(char *path, size_t size, const char *dir, const char *key)
{
	int n = snprintf(path, size, "%s%s%s", dir, *key ? "/" : "", key);

	return n < 0 || (size_t)n >= size ? -ENAMETOOLONG : 0;
}

int sr_xs_get(struct xs_handle *xs, xs_transaction_t t, const char *dir, const char *key,
	      char **value)
{
	char path[SR_XS_PATH_MAX];
	unsigned len;
	int rc = sr_xs_path(path, sizeof(path), dir, key);

	if (rc)
		return rc;
	/* libxenstore puts a nul behind the value. */
	*value = xs_read(xs, t, path, &len);
	return *value ? 0 : -errno;
}

int sr_xs_get_u64(struct xs_handle *xs, xs_transaction_t t, const char *dir, const char *key,
		  uint64_t max, uint64_t *value)
{
	char *text;
	int rc = sr_xs_get(xs, t, dir, key, &text);

	if (rc)
		return rc;
	rc = sr_parse_u64(text, max, value);
	free(text);
	return rc;
}

int sr_xs_put(struct xs_handle *xs, xs_transaction_t t, const char *dir, const char *key,
	      const char *format, ...)
{
	char path[SR_XS_PATH_MAX], *text;
	va_list args;
	int rc, n;

	rc = sr_xs_path(path, sizeof(path), dir, key);
	if (rc)
		return rc;
	va_start(args, format);
	n = vasprintf(&text, format, args);
	va_end(args);
	if (n < 0)
		return -ENOMEM;
	rc = xs_write(xs, t, path, text, (unsigned)n) ? 0 : -errno;
	free(text);
	return rc;
}

int sr_xs_remove(struct xs_handle *xs, xs_transaction_t t, const char *dir, const char *key)
{
	char path[SR_XS_PATH_MAX];
	int rc = sr_xs_path(path, sizeof(path), dir, key);

	if (rc)
		return rc;
	return xs_rm(xs, t, path) || errno == ENOENT ? 0 : -errno;
}

int sr_xs_transact(struct xs_handle *xs,
		   int (*fn)(struct xs_handle *xs, xs_transaction_t t, void *arg), void *arg)
{
	for (unsigned i = 0; i < SR_XS_TRIES; i++) {
		xs_transaction_t t = xs_transaction_start(xs);
		int rc;

		if (t == XBT_NULL)
			return -errno;
		rc = fn(xs, t, arg);
		if (xs_transaction_end(xs, t, rc != 0))
			return rc;
		if (rc)
			return rc;
		if (errno != EAGAIN)
			return -errno;
	}
	return -EAGAIN;
}
