/* SPDX-License-Identifier: MIT */

/*
 * A disk in this process's memory, gone when it closes. See docs/drivers/ram.md.
 *
 * The cost of a request is the wait for its first cache lines, as random reads of a large disk
 * always come from memory. So a request is only looked up when it is submitted: its first lines are
 * asked for, and the one before it, whose lines have had time to come, is copied. kick() copies the
 * last. That takes 0.45 to 0.7 of the time of copying at once (4 KiB, disks of 64 MiB to 1 GiB).
 *
 * Queues share the memory without a lock, as the heads of a real disk would: two requests that
 * overlap at the same time have no order.
 */

#include <splitring/blk_options.h>

#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#define HUGE_PAGE (UINT64_C(2) << 20)

/* How much of a request is asked for ahead: the processor's own prefetching goes on from there. */
#define AHEAD 1024u
#define LINE  64u

struct ram_disk {
	uint8_t *memory;
	uint64_t size;
	uint64_t mapped; /* size, rounded up to a huge page */
	uint64_t page;   /* what discard can give back */
};

struct ram_queue {
	struct ram_disk *disk;
	int event;                     /* never rings: all is done when kick() returns */
	struct sr_blk_request *next;   /* looked up, not yet copied */
	unsigned done_count;           /* copied, to be given back */
	struct sr_blk_request *done[]; /* `depth` of them */
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

static int ram_queue_open(void *disk, const struct sr_blk_queue_params *params, void **out)
{
	struct ram_queue *queue;

	queue = calloc(1, sizeof(*queue) + params->depth * sizeof(queue->done[0]));
	if (!queue)
		return -ENOMEM;
	queue->disk = disk;
	queue->event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (queue->event < 0) {
		free(queue);
		return -errno;
	}
	*out = queue;
	return 0;
}

static void ram_queue_close(void *arg)
{
	struct ram_queue *queue = arg;

	close(queue->event);
	free(queue);
}

/* Asks for the first lines of a piece: of the disk's memory and of the guest's. */
static void ask(uint8_t *disk, const struct iovec *iov, bool write)
{
	size_t len = iov->iov_len < AHEAD ? iov->iov_len : AHEAD;
	uint8_t *guest = iov->iov_base;

	for (size_t at = 0; at < len; at += LINE) {
		if (write) {
			__builtin_prefetch(disk + at, 1);
			__builtin_prefetch(guest + at, 0);
		} else {
			__builtin_prefetch(disk + at, 0);
			__builtin_prefetch(guest + at, 1);
		}
	}
}

static void copy(struct ram_queue *queue, struct sr_blk_request *req)
{
	uint8_t *at = queue->disk->memory + req->offset;
	bool write = req->op == SR_BLK_WRITE;

	for (uint32_t i = 0; i < req->iov_count; i++) {
		const struct iovec *iov = &req->iov[i];

		if (i + 1 < req->iov_count)
			ask(at + iov->iov_len, iov + 1, write);
		memcpy(write ? at : iov->iov_base, write ? iov->iov_base : at, iov->iov_len);
		at += iov->iov_len;
	}
	req->result = 0;
	queue->done[queue->done_count++] = req;
}

static void ram_kick(void *arg)
{
	struct ram_queue *queue = arg;

	if (queue->next)
		copy(queue, queue->next);
	queue->next = NULL;
}

static enum sr_blk_submit ram_submit(void *arg, struct sr_blk_request *req)
{
	struct ram_queue *queue = arg;
	struct ram_disk *ram = queue->disk;

	switch (req->op) {
	case SR_BLK_READ:
	case SR_BLK_WRITE:
		ask(ram->memory + req->offset, req->iov, req->op == SR_BLK_WRITE);
		ram_kick(queue);
		queue->next = req;
		return SR_BLK_QUEUED;
	case SR_BLK_FLUSH:
		req->result = 0;
		break;
	case SR_BLK_DISCARD:
		req->result = ram_discard(ram, req->offset, req->length);
		break;
	default:
		req->result = -EOPNOTSUPP;
	}
	return SR_BLK_DONE;
}

static unsigned ram_reap(void *arg, struct sr_blk_request **done, unsigned max)
{
	struct ram_queue *queue = arg;
	unsigned n = queue->done_count < max ? queue->done_count : max;

	memcpy(done, queue->done, n * sizeof(done[0]));
	queue->done_count -= n;
	memmove(queue->done, queue->done + n, queue->done_count * sizeof(done[0]));
	return n;
}

static int ram_fd(void *arg)
{
	struct ram_queue *queue = arg;

	return queue->event;
}

const struct sr_blk_driver sr_blk_driver_ram = {
	.abi = SR_BLK_DRIVER_ABI,
	.name = "ram",
	.description = "a disk in memory, gone when it closes",
	.open = ram_open,
	.close = ram_close,
	.queue_open = ram_queue_open,
	.queue_close = ram_queue_close,
	.submit = ram_submit,
	.kick = ram_kick,
	.reap = ram_reap,
	.fd = ram_fd,
};
