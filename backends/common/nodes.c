/* SPDX-License-Identifier: MIT */
#include <common/nodes.h>

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

#include <common/xs.h>

int sr_nodes_fail(const struct sr_nodes *n, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(n->error, n->error_size, format, args);
	va_end(args);
	return -EINVAL;
}

int sr_nodes_get(const struct sr_nodes *n, const char *key, uint64_t max, uint64_t fallback,
		 uint64_t *value)
{
	const char *text = n->get(n->ctx, key);

	*value = fallback;
	if (!text)
		return 0;
	if (sr_parse_u64(text, max, value))
		return sr_nodes_fail(
		    n, "the frontend's %s is \"" SR_NODES_SHOWN "\": a number up to %llu is needed",
		    key, text, (unsigned long long)max);
	return 0;
}

int sr_nodes_need(const struct sr_nodes *n, const char *dir, const char *name, uint64_t max,
		  uint32_t *value)
{
	char key[64];
	uint64_t v;

	snprintf(key, sizeof(key), "%s%s", dir, name);
	if (!sr_nodes_has(n, dir, name))
		return sr_nodes_fail(n, "the frontend has no node %s", key);
	if (sr_nodes_get(n, key, max, 0, &v))
		return -EINVAL;
	*value = (uint32_t)v;
	return 0;
}

bool sr_nodes_has(const struct sr_nodes *n, const char *dir, const char *name)
{
	char key[64];

	snprintf(key, sizeof(key), "%s%s", dir, name);
	return n->get(n->ctx, key) != NULL;
}

bool sr_nodes_flag(const struct sr_nodes *n, const char *key)
{
	const char *text = n->get(n->ctx, key);
	uint64_t value;

	return text && !sr_parse_u64(text, 1, &value) && value;
}
