/* SPDX-License-Identifier: MIT */
#ifndef EMBEDDED_PROTOCOL_H
#define EMBEDDED_PROTOCOL_H

/*
 * Between the provider (a process that acts for a domain) and the machine process: one request,
 * one reply, over SOCK_SEQPACKET. Who the client is follows from the socket that it came through.
 * A connection is one open handle; when it closes, all that the handle held is given back. Both
 * ends are of one build (the version says so), so messages are plain structures.
 *
 * The machine takes each field of a request for hostile. The provider trusts the machine.
 */

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <sys/un.h>

#include <embedded/control.h>

#define SR_EM_VERSION  0x73720002u
#define SR_EM_MAX_FDS  4
#define SR_EM_COPY_MAX 4096u /* bytes of data that travel with one message */

enum sr_em_kind {
	SR_EM_INSTANCE, /* an open struct sr_hypervisor */
	SR_EM_GNTTAB,
	SR_EM_GNTSHR,
	SR_EM_EVTCHN,
	SR_EM_CONTROL, /* domain 0 only */
	SR_EM_KINDS,
};

/* Each with the connections that may send it, and the descriptors that come with its reply. */
enum sr_em_op {
	/* any, first. gnttab of a trusted domain: maptrack; gntshr: mem, table; evtchn: bell */
	SR_EM_HELLO,
	SR_EM_BYE,     /* any: the machine gives back what the handle held before it answers */
	SR_EM_FOREIGN, /* instance of a trusted domain: mem, table, active */
	SR_EM_COPY,    /* gnttab of a guest; data may follow the request and the reply */
	SR_EM_PAGES,   /* gntshr: pages for this handle alone */
	SR_EM_REFS,    /* gntshr: grant references for this handle alone */
	SR_EM_NOTICE,  /* gntshr, and gnttab of a trusted domain: see <embedded/notify.h> */
	SR_EM_FIRE,    /* the same: the notice's time has come */
	SR_EM_ALLOC,   /* evtchn: line, bell */
	SR_EM_BIND,    /* evtchn: line, bell, the peer's line, the peer's ringer */
	SR_EM_VIRQ,    /* evtchn: line, bell */
	SR_EM_PEER,    /* evtchn: the peer's line, the peer's ringer. -ENOTCONN: there is none */
	SR_EM_UNBIND,  /* evtchn */
	SR_EM_CREATE,  /* control, like all below */
	SR_EM_ATTACH,
	SR_EM_DESTROY,
	SR_EM_NEXT,
	SR_EM_STATUS,
	SR_EM_SHUTDOWN,
	SR_EM_OPS,
};

struct sr_em_copy {
	uint32_t ref;
	uint16_t domid;
	uint16_t offset;
	uint16_t len;
	uint16_t write; /* the data go to the grant, else they come from it */
	/* Where source and destination are both grants, `to_*` is the destination. */
	uint16_t both;
	uint16_t to_domid;
	uint32_t to_ref;
	uint16_t to_offset;
};

struct sr_em_notice {
	uint32_t id;    /* FIRE, the only field there: from the reply to NOTICE */
	uint32_t frame; /* gntshr: of the handle's own pages */
	uint32_t domid; /* gnttab: the page that this domain granted by this reference */
	uint32_t ref;
	uint32_t offset; /* of the byte; -1: none */
	uint32_t port;   /* of the caller's domain; -1: none */
};

struct sr_em_create {
	uint32_t kind;
	uint32_t vcpus;
	uint64_t pages;
	uint8_t uuid[16];
	char name[SR_NAME_MAX + 1];
};

struct sr_em_request {
	uint32_t op;
	union {
		struct {
			uint32_t version;
			uint32_t kind;
		} hello;
		struct {
			uint32_t count;
		} amount; /* PAGES, REFS */
		struct {
			uint32_t
			    domid; /* ALLOC, BIND, FOREIGN, DESTROY, ATTACH; NEXT: -1 or above */
			uint32_t port; /* BIND: the remote one; PEER, UNBIND: ours */
			int32_t pid;   /* ATTACH */
			uint32_t virq; /* VIRQ */
		} arg;
		struct sr_em_copy copy;
		struct sr_em_notice notice;
		struct sr_em_create create;
	};
};

struct sr_em_hello_reply {
	uint16_t domid;
	uint16_t trusted; /* does its grant operations itself */
	uint16_t conn;    /* gnttab of a trusted domain */
	uint16_t hugetlb;
	uint64_t nr_pages;
	uint32_t max_frames, frames, version; /* of its grant table */
};

struct sr_em_reply {
	int32_t status; /* 0 or -errno */
	uint32_t bytes; /* of data behind the reply */
	union {
		struct sr_em_hello_reply hello;
		int32_t grant_status; /* COPY: GNTST_* */
		uint32_t notice;      /* NOTICE: its number */
		struct {
			uint32_t first, count;
			uint32_t frames; /* REFS: grant frames in use from now on */
		} range;
		struct {
			uint32_t port;
			uint32_t domid;
		} ret;
		struct sr_domain_list_entry entry;
		struct sr_machine_status machine;
	};
};

/* --- the client's end ------------------------------------------------------------------------ */

struct sr_em_client {
	int fd;
};

/* Connects to domain `domid`'s door and says hello. fds[] takes what comes with the reply. */
int sr_em_connect(const char *dir, uint16_t domid, enum sr_em_kind kind, struct sr_em_client *cl,
		  struct sr_em_reply *reply, int *fds, unsigned nr_fds);

/*
 * Sends the request, waits for the reply: the transport's -errno, else reply->status. Exactly
 * `nr_fds` descriptors come with a reply of status 0, and none otherwise; they are close-on-exec
 * and the caller's.
 */
int sr_em_call(struct sr_em_client *cl, const struct sr_em_request *req, struct sr_em_reply *reply,
	       int *fds, unsigned nr_fds);

/* The same with data: `out_len` bytes behind the request, at most `in_len` behind the reply. */
int sr_em_call_data(struct sr_em_client *cl, const struct sr_em_request *req, const void *out,
		    size_t out_len, struct sr_em_reply *reply, void *in, size_t in_len);

/* Has the machine give back what the handle held, then closes it. */
void sr_em_disconnect(struct sr_em_client *cl);

/* DIR/PREFIX-DOMID as a socket's address. -ENAMETOOLONG. */
static inline int sr_em_socket_name(const char *dir, const char *prefix, uint16_t domid,
				    struct sockaddr_un *sa)
{
	int n;

	*sa = (struct sockaddr_un){ .sun_family = AF_UNIX };
	n = snprintf(sa->sun_path, sizeof(sa->sun_path), "%s/%s-%u", dir, prefix, domid);
	return n < 0 || (size_t)n >= sizeof(sa->sun_path) ? -ENAMETOOLONG : 0;
}

#endif
