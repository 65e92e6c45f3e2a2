// SPDX-License-Identifier: MIT
#include "request.h"
#include "number.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

int sr_request_strings(const struct sr_request *request, const char **strings, size_t count)
{
	const char *p = request->payload;
	const char *end = p + request->len;

	for (size_t i = 0; i < count; i++) {
		const char *nul = memchr(p, '\0', (size_t)(end - p));

		if (!nul)
			return -EINVAL;
		strings[i] = p;
		p = nul + 1;
	}
	return 0;
}

int sr_request_domid(const struct sr_request *request, uint16_t *domid)
{
	const char *text;
	int ret = sr_request_strings(request, &text, 1);

	return ret ? ret : sr_parse_domid(text, domid);
}

void sr_request_reply(struct sr_request *request, const char *text)
{
	request->reply_len = strlen(text) + 1;
	memcpy(request->reply, text, request->reply_len);
}

static int get_watch(const struct sr_request *request, struct sr_path *path, const char **token)
{
	const char *strings[2];
	int ret = sr_request_strings(request, strings, 2);

	if (ret)
		return ret;
	*token = strings[1];
	return sr_path_parse_watch(strings[0], request->domain->domid, path);
}

static int do_watch(struct sr_request *request)
{
	struct sr_path path;
	const char *token;
	int ret = get_watch(request, &path, &token);

	return ret ? ret : sr_watch_add(request->client, &path, token, &request->new_watch);
}

static int do_unwatch(struct sr_request *request)
{
	struct sr_path path;
	const char *token;
	int ret = get_watch(request, &path, &token);

	return ret ? ret : sr_watch_remove(request->client, &path, token);
}

static int do_reset_watches(struct sr_request *request)
{
	sr_client_reset(request->client);
	return 0;
}

static int do_transaction_start(struct sr_request *request)
{
	struct sr_client *client = request->client;
	struct sr_transaction *transaction;
	char id[16];
	int ret;

	if (request->transaction)
		return -EBUSY;
	do {
		client->last_transaction++;
	} while (client->last_transaction == 0 ||
		 sr_client_transaction(client, client->last_transaction));
	ret = sr_transaction_new(request->domain, client->last_transaction, &transaction);
	if (ret)
		return ret;
	LIST_INSERT_HEAD(&client->transactions, transaction, link);
	snprintf(id, sizeof(id), "%u", transaction->id);
	sr_request_reply(request, id);
	return 0;
}

static int do_transaction_end(struct sr_request *request)
{
	struct sr_transaction *transaction = request->transaction;
	const char *text;
	int ret = sr_request_strings(request, &text, 1);

	if (ret)
		return ret;
	if (strcmp(text, "T") != 0 && strcmp(text, "F") != 0)
		return -EINVAL;
	if (!transaction)
		return -ENOENT;
	if (text[0] == 'T')
		ret = sr_transaction_commit(transaction);
	LIST_REMOVE(transaction, link);
	sr_transaction_free(transaction);
	request->transaction = NULL;
	return ret;
}

static const struct {
	sr_request_handler *handle;
	bool privileged; /* domain 0 only */
	bool ignores_tx_id;
} request_types[XS_TYPE_COUNT] = {
	[XS_CONTROL] = { .handle = sr_request_control, .privileged = true },
	[XS_DIRECTORY] = { .handle = sr_request_directory },
	[XS_READ] = { .handle = sr_request_read },
	[XS_GET_PERMS] = { .handle = sr_request_get_perms },
	[XS_WATCH] = { .handle = do_watch, .ignores_tx_id = true },
	[XS_UNWATCH] = { .handle = do_unwatch, .ignores_tx_id = true },
	[XS_TRANSACTION_START] = { .handle = do_transaction_start },
	[XS_TRANSACTION_END] = { .handle = do_transaction_end },
	[XS_INTRODUCE] = { .handle = sr_request_introduce, .privileged = true },
	[XS_RELEASE] = { .handle = sr_request_release, .privileged = true },
	[XS_GET_DOMAIN_PATH] = { .handle = sr_request_get_domain_path },
	[XS_WRITE] = { .handle = sr_request_write },
	[XS_MKDIR] = { .handle = sr_request_mkdir },
	[XS_RM] = { .handle = sr_request_rm },
	[XS_SET_PERMS] = { .handle = sr_request_set_perms },
	[XS_IS_DOMAIN_INTRODUCED] = { .handle = sr_request_is_domain_introduced },
	[XS_RESUME] = { .handle = sr_request_resume, .privileged = true },
	[XS_SET_TARGET] = { .handle = sr_request_set_target, .privileged = true },
	[XS_RESET_WATCHES] = { .handle = do_reset_watches, .ignores_tx_id = true },
	[XS_DIRECTORY_PART] = { .handle = sr_request_directory_part },
};

static int dispatch(struct sr_request *request)
{
	const struct xsd_sockmsg *header = &request->client->in_header;

	if (header->type >= XS_TYPE_COUNT || !request_types[header->type].handle)
		return -ENOSYS;
	if (request_types[header->type].privileged && !sr_domain_privileged(request->domain))
		return -EACCES;
	if (header->tx_id != 0 && !request_types[header->type].ignores_tx_id) {
		request->transaction = sr_client_transaction(request->client, header->tx_id);
		if (!request->transaction)
			return -ENOENT;
	}
	return request_types[header->type].handle(request);
}

static const char *error_name(int error)
{
	for (size_t i = 0; i < sizeof(xsd_errors) / sizeof(xsd_errors[0]); i++) {
		if (xsd_errors[i].errnum == error)
			return xsd_errors[i].errstring;
	}
	return "EINVAL";
}

void sr_request_serve(struct sr_client *client)
{
	struct sr_request request;
	int ret;

	/* The reply's 4 KiB are left as they are. */
	request.store = client->store;
	request.client = client;
	request.domain = client->domain;
	request.transaction = NULL;
	request.payload = client->in_payload;
	request.len = client->in_header.len;
	request.new_watch = NULL;
	sr_request_reply(&request, "OK");
	ret = dispatch(&request);
	if (ret) {
		const char *name = error_name(-ret);

		sr_client_reply(client, &client->in_header, XS_ERROR, name, strlen(name) + 1);
		return;
	}
	sr_client_reply(client, &client->in_header, client->in_header.type, request.reply,
			request.reply_len);
	/* A connection that the reply has cost has no watches any more. */
	if (request.new_watch && client->fd >= 0)
		sr_client_event(client, request.new_watch, request.new_watch->path);
}
