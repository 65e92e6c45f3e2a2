/* SPDX-License-Identifier: MIT */
#include "internal.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/memfd.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define HUGE_SIZE (2u << 20)

/*
 * Sealed against shrinking, or a guest could make whoever has it mapped fault; and against seals,
 * or a guest could forbid us to map it for writing.
 */
int sr_memfd_sealed(const char *name, size_t size, unsigned flags, int *out)
{
	int fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING | flags);
	int ret;

	if (fd < 0)
		return -errno;
	if (ftruncate(fd, (off_t)size) < 0 ||
	    fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) < 0) {
		ret = -errno;
		close(fd);
		return ret;
	}
	*out = fd;
	return 0;
}

/*
 * hugetlbfs pages have to be there for the asking: a domain which found the pool empty at some
 * later touch would be killed. So reserve all of them now (a shared mapping does), or do without.
 */
static int create_hugetlb(size_t size, int *out)
{
	int fd, ret;
	void *p;

	ret = sr_memfd_sealed("sr-mem", (size + HUGE_SIZE - 1) & ~(size_t)(HUGE_SIZE - 1),
			      MFD_HUGETLB | MFD_HUGE_2MB, &fd);
	if (ret < 0)
		return ret;
	p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (p == MAP_FAILED) {
		ret = -errno;
		close(fd);
		return ret;
	}
	munmap(p, (size + HUGE_SIZE - 1) & ~(size_t)(HUGE_SIZE - 1));
	*out = fd;
	return 0;
}

void sr_domain_fds_close(struct sr_domain_fds *fds)
{
	if (fds->mem >= 0)
		close(fds->mem);
	if (fds->table >= 0)
		close(fds->table);
	if (fds->active >= 0)
		close(fds->active);
	fds->mem = fds->table = fds->active = -1;
}

int sr_memory_create(uint64_t nr_pages, uint32_t max_frames, bool hugetlb,
		     struct sr_domain_memory *out)
{
	size_t size = (size_t)nr_pages << SR_PAGE_SHIFT;
	struct sr_domain_fds fds = { -1, -1, -1 };
	int ret = -ENOMEM;

	if (hugetlb)
		ret = create_hugetlb(size, &fds.mem);
	out->hugetlb = ret == 0;
	if (ret < 0)
		ret = sr_memfd_sealed("sr-mem", size, 0, &fds.mem);
	if (ret == 0)
		ret = sr_memfd_sealed("sr-table", sr_table_size(max_frames), 0, &fds.table);
	if (ret == 0)
		ret = sr_memfd_sealed("sr-active", sr_active_size(max_frames), 0, &fds.active);
	if (ret < 0)
		sr_domain_fds_close(&fds);
	else
		out->fds = fds;
	return ret;
}
