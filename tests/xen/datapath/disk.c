/* SPDX-License-Identifier: MIT */
/* A disk, asked one transfer at a time in each way that Linux has. */
#include "datapath.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

uint64_t dp_now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

int dp_disk_open(const char *path, struct dp_disk *disk)
{
	int err;

	memset(disk, 0, sizeof(*disk));
	disk->fd = open(path, O_RDWR | O_DIRECT | O_CLOEXEC);
	if (disk->fd < 0)
		return -errno;
	err = io_setup(1, &disk->aio);
	if (!err) {
		err = io_uring_queue_init(4, &disk->ring, 0);
		if (err)
			io_destroy(disk->aio);
	}
	if (err)
		close(disk->fd);
	return err;
}

void dp_disk_close(struct dp_disk *disk)
{
	io_uring_queue_exit(&disk->ring);
	io_destroy(disk->aio);
	close(disk->fd);
}

static int by_aio(struct dp_disk *disk, bool write, const struct iovec *iov, unsigned count)
{
	struct iocb iocb, *list = &iocb;
	struct io_event event;
	int n;

	if (write)
		io_prep_pwritev(&iocb, disk->fd, iov, (int)count, 0);
	else
		io_prep_preadv(&iocb, disk->fd, iov, (int)count, 0);
	n = io_submit(disk->aio, 1, &list);
	if (n < 0)
		return n;
	n = io_getevents(disk->aio, 1, 1, &event, NULL);
	return n < 0 ? n : (int)(long)event.res;
}

static int by_uring(struct dp_disk *disk, bool fixed, bool write, const struct iovec *iov,
		    unsigned count)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&disk->ring);
	struct io_uring_cqe *cqe;
	int n;

	if (fixed && write)
		io_uring_prep_write_fixed(sqe, disk->fd, iov->iov_base, (unsigned)iov->iov_len, 0,
					  0);
	else if (fixed)
		io_uring_prep_read_fixed(sqe, disk->fd, iov->iov_base, (unsigned)iov->iov_len, 0,
					 0);
	else if (write)
		io_uring_prep_writev(sqe, disk->fd, iov, count, 0);
	else
		io_uring_prep_readv(sqe, disk->fd, iov, count, 0);
	n = io_uring_submit_and_wait(&disk->ring, 1);
	if (n < 0)
		return n;
	n = io_uring_wait_cqe(&disk->ring, &cqe);
	if (n < 0)
		return n;
	n = cqe->res;
	io_uring_cqe_seen(&disk->ring, cqe);
	return n;
}

int dp_transfer(struct dp_disk *disk, enum dp_way way, bool write, const struct iovec *iov,
		unsigned count)
{
	ssize_t n;

	if (way == DP_AIO)
		return by_aio(disk, write, iov, count);
	if (way != DP_PREADV)
		return by_uring(disk, way == DP_URING_FIXED, write, iov, count);
	n = write ? pwritev(disk->fd, iov, (int)count, 0) : preadv(disk->fd, iov, (int)count, 0);
	return n < 0 ? -errno : (int)n;
}
