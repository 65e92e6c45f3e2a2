/* SPDX-License-Identifier: MIT */

/*
 * A disk in this process's memory, gone when it closes. See docs/drivers/ram.md.
 *
 * Requests are served where they are submitted: a copy of 4 KiB costs less than handing it to
 * anybody else. Queues share the memory without a lock, as the heads of a real disk would: two
 * requests that overlap at the same time have no order.
 */

#include <splitring/blk_options.h>

#include <sys/mman.h>
#include <unistd.h>

#define HUGE_PAGE (UINT64_C(2) << 20)

struct ram_disk {
	uint8_t *memory;
	uint64_t size;
	uint64_t mapped; /* size, rounded up to a huge page */
	uint64_t page;   /* what discard can give back */
};

extern const struct sr_blk_driver sr_blk_driver_ram;

/* Reserved huge pages if asked for, else what the kernel gives: transparent huge ones if it can. */
static int map_memory(struct ram_disk *ram, const struct sr_blk_open *args, bool huge,
		      bool prefault)
{
	int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
	int err;

	if (huge) /* reserved, so that a write never faults on a page that is not there */
		flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB;
	ram->page = huge ? HUGE_PAGE : (uint64_t)sysconf(_SC_PAGESIZE);
	ram->mapped = (ram->size + HUGE_PAGE - 1) & ~(HUGE_PAGE - 1);
	ram->memory = mmap(NULL, ram->mapped, PROT_READ | PROT_WRITE, flags, -1, 0);
	if (ram->memory == MAP_FAILED)
		return sr_blk_fail(args, -errno, "no %llu MiB of memory: %s%s",
				   (unsigned long long)(ram->mapped >> 20), strerror(errno),
				   huge ? "; hugepages=on needs pages of 2 MiB reserved in "
					  "/proc/sys/vm/nr_hugepages"
					: "");
	if (!huge)
		madvise(ram->memory, ram->mapped, MADV_HUGEPAGE);
	if (prefault && madvise(ram->memory, ram->mapped, MADV_POPULATE_WRITE)) {
		err = -errno;
		munmap(ram->memory, ram->mapped);
		return sr_blk_fail(args, err, "prefault=on: no memory for %llu MiB: %s",
				   (unsigned long long)(ram->mapped >> 20), strerror(-err));
	}
	return 0;
}

static int ram_open(const struct sr_blk_open *args, void **disk, struct sr_blk_info *info)
{
	uint64_t size = 0;
	bool prefault = false, huge = false;
	const struct sr_blk_option known[] = {
		{ "size", SR_BLK_OPTION_SIZE, &size, NULL },
		{ "prefault", SR_BLK_OPTION_BOOL, &prefault, NULL },
		{ "hugepages", SR_BLK_OPTION_BOOL, &huge, NULL },
	};
	struct ram_disk *ram;
	int err;

	err = sr_blk_options_read(args, args->target, known, 1);
	if (!err)
		err = sr_blk_options_read(args, args->options, known + 1, 2);
	if (err)
		return err;
	if (size == 0 || size % 512 || size > UINT64_C(1) << 46)
		return sr_blk_fail(args, -EINVAL,
				   "size=: it is a multiple of 512 bytes, above 0 and up to 64T");
	ram = calloc(1, sizeof(*ram));
	if (!ram)
		return sr_blk_fail(args, -ENOMEM, "out of memory");
	ram->size = size;
	err = map_memory(ram, args, huge, prefault);
	if (err) {
		free(ram);
		return err;
	}
	*info = (struct sr_blk_info){
		.size = size,
		.logical_block_size = 512,
		.physical_block_size = 4096,
		.discard_granularity = (uint32_t)ram->page,
		.secure_discard = true,
		.flush = true,
		.read_only = args->read_only,
	};
	*disk = ram;
	return 0;
}

static void ram_close(void *disk)
{
	struct ram_disk *ram = disk;

	munmap(ram->memory, ram->mapped);
	free(ram);
}

/*
 * Whole pages go back to the kernel, which hands them to nobody before it has cleared them; what is
 * left of a page at either end is cleared here. So a discarded sector reads as zeroes, and the
 * secure kind needs nothing more.
 */
static int ram_discard(struct ram_disk *ram, uint64_t offset, uint64_t length)
{
	uint64_t end = offset + length;
	uint64_t first = (offset + ram->page - 1) & ~(ram->page - 1);
	uint64_t last = end & ~(ram->page - 1);

	if (first >= last) {
		memset(ram->memory + offset, 0, length);
		return 0;
	}
	memset(ram->memory + offset, 0, first - offset);
	memset(ram->memory + last, 0, end - last);
	return madvise(ram->memory + first, last - first, MADV_DONTNEED) ? -errno : 0;
}

static enum sr_blk_submit ram_submit(void *queue, struct sr_blk_request *req)
{
	struct ram_disk *ram = queue;
	uint8_t *at = ram->memory + req->offset;

	req->result = 0;
	switch (req->op) {
	case SR_BLK_READ:
		for (uint32_t i = 0; i < req->iov_count; at += req->iov[i++].iov_len)
			memcpy(req->iov[i].iov_base, at, req->iov[i].iov_len);
		break;
	case SR_BLK_WRITE:
		for (uint32_t i = 0; i < req->iov_count; at += req->iov[i++].iov_len)
			memcpy(at, req->iov[i].iov_base, req->iov[i].iov_len);
		break;
	case SR_BLK_FLUSH:
		break;
	case SR_BLK_DISCARD:
		req->result = ram_discard(ram, req->offset, req->length);
		break;
	default:
		req->result = -EOPNOTSUPP;
	}
	return SR_BLK_DONE;
}

const struct sr_blk_driver sr_blk_driver_ram = {
	.abi = SR_BLK_DRIVER_ABI,
	.name = "ram",
	.description = "a disk in memory, gone when it closes",
	.open = ram_open,
	.close = ram_close,
	.submit = ram_submit,
};
