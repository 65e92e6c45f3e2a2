// SPDX-License-Identifier: MIT
#include "number.h"
#include "request.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <xen/xen.h>

static struct sr_domain *find_introduced(const struct sr_store *store, uint16_t domid)
{
	struct sr_domain *domain = sr_domain_find(store, domid);

	return domain && domain->introduced ? domain : NULL;
}

/*
 * There is no ring page to map here, since a domain comes through its socket: the page and event
 * channel that are named are not looked at.
 */
int sr_request_introduce(struct sr_request *request)
{
	const char *strings[3];
	struct sr_domain *domain;
	uint16_t domid;
	int ret = sr_request_strings(request, strings, 3);

	if (!ret)
		ret = sr_parse_domid(strings[0], &domid);
	if (ret)
		return ret;
	domain = sr_domain_get(request->store, domid);
	if (!domain)
		return -ENOMEM;
	ret = sr_domain_introduce(domain);
	return ret == -EEXIST ? 0 : ret;
}

int sr_request_release(struct sr_request *request)
{
	struct sr_domain *domain;
	uint16_t domid;
	int ret = sr_request_domid(request, &domid);

	if (ret)
		return ret;
	domain = find_introduced(request->store, domid);
	return domain ? sr_domain_release(domain) : -ENOENT;
}

/* A domain here is there or gone: there is no shutdown state to be cleared. */
int sr_request_resume(struct sr_request *request)
{
	uint16_t domid;
	int ret = sr_request_domid(request, &domid);

	if (ret)
		return ret;
	return find_introduced(request->store, domid) ? 0 : -ENOENT;
}

int sr_request_set_target(struct sr_request *request)
{
	const char *strings[2];
	struct sr_domain *domain;
	uint16_t domid;
	uint16_t target;
	int ret = sr_request_strings(request, strings, 2);

	if (!ret)
		ret = sr_parse_domid(strings[0], &domid);
	if (!ret)
		ret = sr_parse_domid(strings[1], &target);
	if (ret)
		return ret;
	/* To act for domain 0 would be to own all that it owns. */
	if (domid == 0 || target == 0)
		return -EINVAL;
	domain = find_introduced(request->store, domid);
	if (!domain || !find_introduced(request->store, target))
		return -ENOENT;
	domain->target = target;
	return 0;
}

int sr_request_get_domain_path(struct sr_request *request)
{
	char path[32];
	uint16_t domid;
	int ret = sr_request_domid(request, &domid);

	if (ret)
		return ret;
	snprintf(path, sizeof(path), "/local/domain/%u", domid);
	sr_request_reply(request, path);
	return 0;
}

int sr_request_is_domain_introduced(struct sr_request *request)
{
	uint16_t domid;
	int ret = sr_request_domid(request, &domid);

	if (ret)
		return ret;
	sr_request_reply(request,
			 domid == DOMID_SELF || find_introduced(request->store, domid) ? "T" : "F");
	return 0;
}

static int control_help(struct sr_request *request)
{
	sr_request_reply(request, "help\n"
				  "check           compare the tree with the accounts\n"
				  "quota           limits of an unprivileged domain\n"
				  "quota <domid>   what a domain uses\n"
				  "usage           what the whole store holds\n");
	return 0;
}

static int control_check(struct sr_request *request)
{
	return sr_store_check(request->store) ? -EIO : 0;
}

static void reply_usage(struct sr_request *request, const struct sr_store_usage *usage)
{
	char text[160];

	snprintf(text, sizeof(text), "nodes %zu\nwatches %zu\ntransactions %zu\nconnections %zu\n",
		 usage->nodes, usage->watches, usage->transactions, usage->connections);
	sr_request_reply(request, text);
}

static int control_usage(struct sr_request *request)
{
	struct sr_store_usage usage;

	sr_store_total_usage(request->store, &usage);
	reply_usage(request, &usage);
	return 0;
}

static int control_quota(struct sr_request *request)
{
	const struct sr_store_limits *limits = &request->store->limits;
	struct sr_store_usage usage;
	const char *strings[2];
	char text[320];
	uint16_t domid;

	if (sr_request_strings(request, strings, 2) == 0) {
		if (sr_parse_domid(strings[1], &domid))
			return -EINVAL;
		sr_store_domain_usage(request->store, domid, &usage);
		reply_usage(request, &usage);
		return 0;
	}
	snprintf(text, sizeof(text),
		 "nodes %u\nwatches %u\ntransactions %u\ntransaction-bytes %u\nnode-size %u\n"
		 "permissions %u\nrequests %u\nconnections %u\noutput-bytes %u\n",
		 limits->nodes, limits->watches, limits->transactions, limits->transaction_bytes,
		 limits->node_size, limits->permissions, limits->requests, limits->connections,
		 limits->output_bytes);
	sr_request_reply(request, text);
	return 0;
}

int sr_request_control(struct sr_request *request)
{
	static const struct {
		const char *name;
		sr_request_handler *handle;
	} commands[] = {
		{ "help", control_help },
		{ "check", control_check },
		{ "quota", control_quota },
		{ "usage", control_usage },
	};
	const char *name;
	int ret = sr_request_strings(request, &name, 1);

	if (ret)
		return ret;
	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
		if (strcmp(commands[i].name, name) == 0)
			return commands[i].handle(request);
	}
	return -EINVAL;
}
