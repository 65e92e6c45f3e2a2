/* SPDX-License-Identifier: MIT */
/*
 * libxencall of a domain without privilege: handles open and buffers are to be had, so that
 * libxenctrl starts, and each hypercall is refused with EPERM. Only grants are copied, which is any
 * domain's to ask for.
 */
#include <errno.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>
#include <xen/xen.h>
#include <xencall.h>

#include <xen/grant_table.h>

#include "window.h"

#define PAGE 4096u

struct xencall_handle {
	int fd;                          /* stands for the device's, and is good for nothing */
	struct xengntdev_handle *grants; /* NULL: nothing was copied yet */
};

xencall_handle *xencall_open(struct xentoollog_logger *logger, unsigned open_flags)
{
	xencall_handle *xcall = calloc(1, sizeof(*xcall));

	if (!xcall)
		return NULL;
	xcall->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (xcall->fd >= 0)
		return xcall;
	free(xcall);
	return NULL;
}

int xencall_close(xencall_handle *xcall)
{
	if (xcall) {
		sr_grants_close(xcall->grants);
		close(xcall->fd);
	}
	free(xcall);
	return 0;
}

int xencall_fd(xencall_handle *xcall)
{
	return xcall->fd;
}

static int refuse(void)
{
	errno = EPERM;
	return -1;
}

int xencall0(xencall_handle *xcall, unsigned int op)
{
	return refuse();
}

int xencall1(xencall_handle *xcall, unsigned int op, uint64_t arg1)
{
	return refuse();
}

int xencall2(xencall_handle *xcall, unsigned int op, uint64_t arg1, uint64_t arg2)
{
	return refuse();
}

/* Between two references; what a program does with its own frames is not for a library to see. */
static void copy_one(xencall_handle *xcall, struct gnttab_copy *op)
{
	struct sr_copy_segment s = { .len = op->len, .flags = op->flags };

	s.source.foreign.ref = op->source.u.ref;
	s.source.foreign.domid = op->source.domid;
	s.source.foreign.offset = op->source.offset;
	s.dest.foreign.ref = op->dest.u.ref;
	s.dest.foreign.domid = op->dest.domid;
	s.dest.foreign.offset = op->dest.offset;
	op->status = GNTST_permission_denied;
	if (s.flags == (SR_COPY_SOURCE_GREF | SR_COPY_DEST_GREF) &&
	    !sr_gnttab_copy(xcall->grants->gt, &s, 1))
		op->status = s.status;
}

int xencall3(xencall_handle *xcall, unsigned int op, uint64_t arg1, uint64_t arg2, uint64_t arg3)
{
	struct gnttab_copy *ops = (struct gnttab_copy *)(uintptr_t)arg2;

	if (op != __HYPERVISOR_grant_table_op || arg1 != GNTTABOP_copy)
		return refuse();
	if (!xcall->grants)
		xcall->grants = sr_grants_open(NULL, false);
	if (!xcall->grants)
		return refuse();
	for (uint64_t i = 0; i < arg3; i++)
		copy_one(xcall, &ops[i]);
	return 0;
}

int xencall4(xencall_handle *xcall, unsigned int op, uint64_t arg1, uint64_t arg2, uint64_t arg3,
	     uint64_t arg4)
{
	return refuse();
}

int xencall5(xencall_handle *xcall, unsigned int op, uint64_t arg1, uint64_t arg2, uint64_t arg3,
	     uint64_t arg4, uint64_t arg5)
{
	return refuse();
}

long xencall2L(xencall_handle *xcall, unsigned int op, uint64_t arg1, uint64_t arg2)
{
	return refuse();
}

void *xencall_alloc_buffer_pages(xencall_handle *xcall, size_t nr_pages)
{
	void *p =
	    mmap(NULL, nr_pages * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	return p == MAP_FAILED ? NULL : p;
}

void xencall_free_buffer_pages(xencall_handle *xcall, void *p, size_t nr_pages)
{
	if (p)
		munmap(p, nr_pages * PAGE);
}

void *xencall_alloc_buffer(xencall_handle *xcall, size_t size)
{
	return calloc(1, size);
}

void xencall_free_buffer(xencall_handle *xcall, void *p)
{
	free(p);
}

int xencall_buffers_never_fault(xencall_handle *xcall)
{
	return 0;
}
