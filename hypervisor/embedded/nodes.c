/* SPDX-License-Identifier: MIT */
/*
 * The nodes that xl makes for every domain, with its permissions: what the guest may write is the
 * guest's, the rest is the toolstack's and the guest may read it. Device nodes are the business of
 * whoever attaches the device.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

#include "machine_impl.h"

#define UUID_TEXT 37

struct maker {
	struct sr_store *store;
	uint16_t domid;
	int err; /* of the first node that failed; nothing is made after it */
};

enum access {
	TOOLSTACK, /* domain 0's own */
	READABLE,  /* domain 0's, which the domain may read */
	OWN,       /* the domain's */
};

__attribute__((format(printf, 4, 5))) static void node(struct maker *mk, enum access access,
						       const char *rel, const char *format, ...)
{
	struct sr_store_perm perms[2] = { { .domid = access == OWN ? mk->domid : 0, .access = 'n' },
					  { .domid = mk->domid, .access = 'r' } };
	char path[256], value[256];
	va_list ap;
	int n;

	if (mk->err)
		return;
	if (rel[0] == '/')
		snprintf(path, sizeof(path), "%s", rel);
	else
		snprintf(path, sizeof(path), "/local/domain/%u%s%s", mk->domid, rel[0] ? "/" : "",
			 rel);
	va_start(ap, format);
	n = vsnprintf(value, sizeof(value), format, ap);
	va_end(ap);
	mk->err = sr_store_write(mk->store, path, value, (size_t)n);
	if (!mk->err)
		mk->err = sr_store_set_perms(mk->store, path, perms, access == READABLE ? 2 : 1);
}

static void uuid_text(const uint8_t u[16], char text[UUID_TEXT])
{
	snprintf(text, UUID_TEXT,
		 "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", u[0], u[1],
		 u[2], u[3], u[4], u[5], u[6], u[7], u[8], u[9], u[10], u[11], u[12], u[13], u[14],
		 u[15]);
}

static void make_vm(struct maker *mk, const struct sr_dom *dom, const char *uuid)
{
	char path[128];

	snprintf(path, sizeof(path), "/vm/%s", uuid);
	node(mk, READABLE, path, "%s", "");
	snprintf(path, sizeof(path), "/vm/%s/uuid", uuid);
	node(mk, READABLE, path, "%s", uuid);
	snprintf(path, sizeof(path), "/vm/%s/name", uuid);
	node(mk, READABLE, path, "%s", dom->name);
	snprintf(path, sizeof(path), "/vm/%s/start_time", uuid);
	node(mk, READABLE, path, "%" PRId64, dom->start_time);
	snprintf(path, sizeof(path), "/libxl/%u", dom->domid);
	node(mk, TOOLSTACK, path, "%s", "");
	snprintf(path, sizeof(path), "/libxl/%u/type", dom->domid);
	node(mk, TOOLSTACK, path, "pv");
}

static void make_own(struct maker *mk)
{
	static const char *const own[] = {
		"data",
		"drivers",
		"feature",
		"attr",
		"error",
		"control/shutdown",
		"control/feature-poweroff",
		"control/feature-reboot",
		"control/feature-suspend",
		"control/sysrq",
		"device/suspend/event-channel",
	};

	for (size_t i = 0; i < sizeof(own) / sizeof(own[0]); i++)
		node(mk, OWN, own[i], "%s", "");
}

int sr_nodes_create(struct sr_machine *m, const struct sr_dom *dom,
		    const struct sr_domain_spec *spec)
{
	struct maker mk = { .store = m->store, .domid = dom->domid };
	uint64_t kib = spec->pages * (SR_PAGE_SIZE / 1024);
	char uuid[UUID_TEXT], vcpu[32];

	uuid_text(dom->uuid, uuid);
	node(&mk, READABLE, "", "%s", "");
	node(&mk, READABLE, "name", "%s", dom->name);
	node(&mk, READABLE, "domid", "%u", dom->domid);
	node(&mk, READABLE, "vm", "/vm/%s", uuid);
	node(&mk, READABLE, "memory", "%s", "");
	node(&mk, READABLE, "memory/static-max", "%" PRIu64, kib);
	node(&mk, READABLE, "memory/target", "%" PRIu64, kib);
	node(&mk, READABLE, "cpu", "%s", "");
	for (unsigned i = 0; i < spec->vcpus; i++) {
		snprintf(vcpu, sizeof(vcpu), "cpu/%u", i);
		node(&mk, READABLE, vcpu, "%s", "");
		snprintf(vcpu, sizeof(vcpu), "cpu/%u/availability", i);
		node(&mk, READABLE, vcpu, "online");
	}
	node(&mk, READABLE, "control", "%s", "");
	node(&mk, READABLE, "device", "%s", "");
	make_vm(&mk, dom, uuid);
	if (dom->kind != SR_KIND_DOM0) {
		make_own(&mk);
		node(&mk, READABLE, "device/suspend", "%s", "");
	}
	/* Where a domain's own backends appear. */
	if (dom->kind != SR_KIND_GUEST)
		node(&mk, OWN, "backend", "%s", "");
	return mk.err;
}

void sr_nodes_remove(struct sr_machine *m, const struct sr_dom *dom)
{
	char path[128], uuid[UUID_TEXT];

	uuid_text(dom->uuid, uuid);
	snprintf(path, sizeof(path), "/local/domain/%u", dom->domid);
	sr_store_rm(m->store, path);
	snprintf(path, sizeof(path), "/vm/%s", uuid);
	sr_store_rm(m->store, path);
	snprintf(path, sizeof(path), "/libxl/%u", dom->domid);
	sr_store_rm(m->store, path);
}
