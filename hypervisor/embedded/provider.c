/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>
#include <unistd.h>

#include "provider_impl.h"

static int fetch_domain(void *ctx, uint16_t domid, struct sr_domain_fds *fds)
{
	struct sr_em_request req = { .op = SR_EM_FOREIGN, .arg = { .domid = domid } };
	struct sr_em_hv *hv = ctx;
	struct sr_em_reply reply;
	int got[3], err;

	pthread_mutex_lock(&hv->lock);
	err = sr_em_call(&hv->client, &req, &reply, got, 3);
	pthread_mutex_unlock(&hv->lock);
	if (!err)
		*fds = (struct sr_domain_fds){ .mem = got[0], .table = got[1], .active = got[2] };
	return err;
}

int sr_em_hv_connect(struct sr_em_hv *hv, enum sr_em_kind kind, struct sr_em_client *cl,
		     struct sr_em_reply *reply, int *fds, unsigned nr_fds)
{
	return sr_em_connect(hv->dir, hv->base.domid, kind, cl, reply, fds, nr_fds);
}

static int em_store_path(struct sr_hypervisor *base, char *path, size_t size)
{
	struct sr_em_hv *hv = (struct sr_em_hv *)base;
	struct sockaddr_un sa;
	int err = sr_em_socket_name(hv->dir, "xenstored", base->domid, &sa);

	if (!err && strlen(sa.sun_path) >= size)
		err = -ENAMETOOLONG;
	if (!err)
		strcpy(path, sa.sun_path);
	return err;
}

static int em_xenstore(struct sr_hypervisor *base, struct xs_handle **xs)
{
	char path[sizeof(((struct sockaddr_un *)0)->sun_path)];
	int err = em_store_path(base, path, sizeof(path));

	return err ? err : sr_provider_xenstore_at(path, xs);
}

static int em_grant_entries(struct sr_hypervisor *base, uint16_t domid, unsigned *entries)
{
	struct sr_em_hv *hv = (struct sr_em_hv *)base;
	struct sr_foreign *view;
	int err = sr_foreign_get(hv->foreigns, sr_em_domid(hv, domid), &view);

	if (err)
		return err;
	*entries = sr_grant_entries(atomic_load(&view->header->version), view->max_frames);
	sr_foreign_put(hv->foreigns, view);
	return 0;
}

static void em_close(struct sr_hypervisor *base)
{
	struct sr_em_hv *hv = (struct sr_em_hv *)base;

	sr_foreigns_destroy(hv->foreigns);
	sr_em_disconnect(&hv->client);
	pthread_mutex_destroy(&hv->lock);
	free(hv->dir);
	free(hv);
}

static const struct sr_hypervisor_ops trusted_ops = {
	.close = em_close,
	.xenstore = em_xenstore,
	.store_path = em_store_path,
	.grant_entries = em_grant_entries,
	.gnttab_open = sr_em_gnttab_open,
	.gntshr_open = sr_em_gntshr_open,
	.evtchn_open = sr_em_evtchn_open,
};

static const struct sr_hypervisor_ops guest_ops = {
	.close = em_close,
	.xenstore = em_xenstore,
	.store_path = em_store_path,
	.gnttab_open = sr_em_guest_gnttab_open,
	.gntshr_open = sr_em_gntshr_open,
	.evtchn_open = sr_em_evtchn_open,
};

/* DIR or DIR#DOMID */
static int parse(const char *rest, char **dir, uint16_t *domid)
{
	const char *hash = strrchr(rest, '#');
	size_t len = hash ? (size_t)(hash - rest) : strlen(rest);
	unsigned long n = 0;
	char *end;

	if (!len)
		return -EINVAL;
	if (hash) {
		if (hash[1] < '0' || hash[1] > '9')
			return -EINVAL;
		errno = 0;
		n = strtoul(hash + 1, &end, 10);
		if (errno || *end || n >= DOMID_FIRST_RESERVED)
			return -EINVAL;
	}
	*domid = (uint16_t)n;
	*dir = strndup(rest, len);
	return *dir ? 0 : -ENOMEM;
}

static int em_open(const char *rest, bool strict, struct sr_hypervisor **out)
{
	struct sr_em_hv *hv = calloc(1, sizeof(*hv));
	struct sr_em_reply reply;
	int err;

	if (!hv)
		return -ENOMEM;
	pthread_mutex_init(&hv->lock, NULL);
	hv->client.fd = -1;
	hv->strict = strict;
	err = parse(rest, &hv->dir, &hv->base.domid);
	if (!err)
		err = sr_em_hv_connect(hv, SR_EM_INSTANCE, &hv->client, &reply, NULL, 0);
	if (!err) {
		hv->trusted = reply.hello.trusted;
		hv->base.ops = hv->trusted ? &trusted_ops : &guest_ops;
		hv->base.caps =
		    SR_CAP_GRANT_PAGES | (hv->trusted && !strict ? SR_CAP_CHEAP_MAP : 0);
		if (hv->trusted)
			err = sr_foreigns_create(fetch_domain, hv, &hv->foreigns);
	}
	if (err) {
		em_close(&hv->base);
		return err == -EACCES ? -EPERM : err;
	}
	*out = &hv->base;
	return 0;
}

static int open_direct(const char *rest, struct sr_hypervisor **hv)
{
	return em_open(rest, false, hv);
}

static int open_strict(const char *rest, struct sr_hypervisor **hv)
{
	return em_open(rest, true, hv);
}

const struct sr_provider sr_provider_embedded = { .scheme = "embedded", .open = open_direct };
const struct sr_provider sr_provider_embedded_strict = { .scheme = "embedded-strict",
							 .open = open_strict };
