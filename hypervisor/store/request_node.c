// SPDX-License-Identifier: MIT
#include "number.h"
#include "request.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static int get_path(const struct sr_request *request, struct sr_path *path)
{
	const char *name;
	int ret = sr_request_strings(request, &name, 1);

	return ret ? ret : sr_path_parse(name, request->domain->domid, path);
}

/*
 * What a read works on: the transaction's view, or 'own', opened on the live tree. 'own' is to be
 * closed in any case.
 */
static struct sr_view *open_view(const struct sr_request *request, struct sr_view *own)
{
	sr_view_open(own, request->store, request->store->root);
	return request->transaction ? &request->transaction->view : own;
}

static int apply(const struct sr_request *request, const struct sr_change *change)
{
	if (request->transaction)
		return sr_transaction_change(request->transaction, change);
	return sr_store_change(request->store, request->domain, change);
}

int sr_request_read(struct sr_request *request)
{
	const struct sr_node *node;
	struct sr_path path;
	struct sr_view own;
	int ret = get_path(request, &path);

	if (ret)
		return ret;
	ret = sr_view_find(open_view(request, &own), request->domain, &path, SR_MAY_READ, &node);
	if (!ret) {
		/* No value is longer than the request that wrote it. */
		request->reply_len = node->value ? node->value->len : 0;
		if (node->value)
			memcpy(request->reply, node->value->data, request->reply_len);
	}
	sr_view_close(&own);
	return ret;
}

int sr_request_write(struct sr_request *request)
{
	struct sr_path path;
	struct sr_change change = { .kind = SR_CHANGE_WRITE, .path = &path };
	size_t name_len;
	int ret = get_path(request, &path);

	if (ret)
		return ret;
	name_len = strlen(request->payload) + 1;
	if (request->len > name_len) {
		change.value = sr_value_new(request->payload + name_len, request->len - name_len);
		if (!change.value)
			return -ENOMEM;
	}
	ret = apply(request, &change);
	sr_value_put(change.value);
	return ret;
}

int sr_request_mkdir(struct sr_request *request)
{
	struct sr_path path;
	struct sr_change change = { .kind = SR_CHANGE_MKDIR, .path = &path };
	int ret = get_path(request, &path);

	return ret ? ret : apply(request, &change);
}

int sr_request_rm(struct sr_request *request)
{
	struct sr_path path;
	struct sr_change change = { .kind = SR_CHANGE_RM, .path = &path };
	int ret = get_path(request, &path);

	return ret ? ret : apply(request, &change);
}

/* Names of children, as one long text in which each has its nul. */
struct listing {
	char *text;
	size_t size;
	size_t used;
	size_t position; /* of the next name in the whole text */
	size_t from;     /* names that begin before are left out */
};

static int list_name(const struct sr_node *node, void *context)
{
	struct listing *listing = context;
	size_t bytes = node->name_len + 1;
	size_t position = listing->position;

	listing->position += bytes;
	if (position < listing->from)
		return 0;
	if (bytes > listing->size - listing->used)
		return -E2BIG;
	memcpy(listing->text + listing->used, node->name, bytes);
	listing->used += bytes;
	return 0;
}

int sr_request_directory(struct sr_request *request)
{
	struct listing listing = { .text = request->reply, .size = sizeof(request->reply) };
	const struct sr_node *node;
	struct sr_path path;
	struct sr_view own;
	int ret = get_path(request, &path);

	if (ret)
		return ret;
	ret = sr_view_list(open_view(request, &own), request->domain, &path, &node);
	if (!ret)
		ret = sr_tree_each(node->children, list_name, &listing);
	if (!ret)
		request->reply_len = listing.used;
	sr_view_close(&own);
	return ret;
}

/* The children from an offset on, behind the generation count; an empty name ends the last part. */
static void list_part(struct sr_request *request, const struct sr_node *node, uint32_t offset)
{
	struct listing listing = { .from = offset };
	int head =
	    snprintf(request->reply, sizeof(request->reply), "%" PRIu64, node->child_generation);

	listing.text = request->reply + head + 1;
	listing.size = sizeof(request->reply) - (size_t)head - 1;
	if (sr_tree_each(node->children, list_name, &listing) == 0 && listing.used < listing.size)
		listing.text[listing.used++] = '\0';
	request->reply_len = (size_t)head + 1 + listing.used;
}

int sr_request_directory_part(struct sr_request *request)
{
	const struct sr_node *node;
	const char *strings[2];
	struct sr_path path;
	struct sr_view own;
	uint32_t offset;
	int ret = sr_request_strings(request, strings, 2);

	if (!ret)
		ret = sr_path_parse(strings[0], request->domain->domid, &path);
	if (!ret)
		ret = sr_parse_number(strings[1], UINT32_MAX, &offset);
	if (ret)
		return ret;
	ret = sr_view_list(open_view(request, &own), request->domain, &path, &node);
	if (!ret)
		list_part(request, node, offset);
	sr_view_close(&own);
	return ret;
}

/* The special watch that the request names instead of a node, or NULL. */
static struct sr_special *get_special(const struct sr_request *request)
{
	const char *name;

	if (sr_request_strings(request, &name, 1) || name[0] != '@')
		return NULL;
	return sr_store_special(request->store, name);
}

int sr_request_get_perms(struct sr_request *request)
{
	struct sr_special *special = get_special(request);
	const struct sr_node *node;
	struct sr_path path;
	struct sr_view own;
	int ret;

	if (special)
		return sr_domain_access(request->domain, special->perms) & SR_MAY_READ
			   ? sr_perms_format(special->perms, request->reply, sizeof(request->reply),
					     &request->reply_len)
			   : -EACCES;
	ret = get_path(request, &path);
	if (ret)
		return ret;
	ret = sr_view_find(open_view(request, &own), request->domain, &path, SR_MAY_READ, &node);
	if (!ret)
		ret = sr_perms_format(node->perms, request->reply, sizeof(request->reply),
				      &request->reply_len);
	sr_view_close(&own);
	return ret;
}

static int set_special_perms(struct sr_request *request, struct sr_special *special,
			     struct sr_perms *perms)
{
	if (!sr_domain_privileged(request->domain))
		return -EACCES;
	sr_perms_put(special->perms);
	special->perms = sr_perms_get(perms);
	return 0;
}

int sr_request_set_perms(struct sr_request *request)
{
	struct sr_special *special = get_special(request);
	struct sr_path path;
	struct sr_change change = { .kind = SR_CHANGE_SET_PERMS, .path = &path };
	const char *name;
	size_t name_len;
	int ret = sr_request_strings(request, &name, 1);

	if (!ret && !special)
		ret = get_path(request, &path);
	if (ret)
		return ret;
	name_len = strlen(name) + 1;
	ret = sr_perms_parse(request->payload + name_len, request->len - name_len, &change.perms);
	if (ret)
		return ret;
	if (special)
		ret = set_special_perms(request, special, change.perms);
	else
		ret = apply(request, &change);
	sr_perms_put(change.perms);
	return ret;
}
