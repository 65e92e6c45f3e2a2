/* SPDX-License-Identifier: MIT */
/*
 * libxencall of a domain without privilege: handles open and buffers are to be had, so that
 * libxenctrl starts, and each hypercall is refused with EPERM.
 */
#include <errno.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>
#include <xencall.h>

#define PAGE 4096u

struct xencall_handle {
	int fd; /* stands for the device's, and is good for nothing */
};

xencall_handle *xencall_open(struct xentoollog_logger *logger, unsigned open_flags)
{
	xencall_handle *xcall = malloc(sizeof(*xcall));

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
	if (xcall)
		close(xcall->fd);
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

int xencall3(xencall_handle *xcall, unsigned int op, uint64_t arg1, uint64_t arg2, uint64_t arg3)
{
	return refuse();
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
