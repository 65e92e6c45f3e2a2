/* SPDX-License-Identifier: MIT */
#ifndef AIO_AIO_H
#define AIO_AIO_H

/* What the files of this driver share. */

#include <file/slow.h>
#include <file/transfer.h>

#include <libaio.h>

struct aio_disk {
	struct sr_file file;
	struct sr_slow slow;
};

/* The request's scratch space. */
struct aio_io {
	struct iocb iocb; /* its data is the request */
	struct sr_transfer transfer;
	struct iovec piece; /* what iocb points to when req->iov does not fit */
	struct sr_slow_job job;
	struct sr_blk_request *next; /* in aio_queue.failed */
};

struct aio_queue {
	struct aio_disk *disk;
	io_context_t context;
	int event; /* an eventfd: what finishes behind our back counts up */
	unsigned depth, inflight;
	int64_t unread; /* requests taken that count in the eventfd, less what was read of it */
	struct sr_slow_queue slow;
	struct sr_blk_request *failed; /* the kernel refused it; results set */
	unsigned batch_count;
	struct iocb *batch[]; /* `depth` of them, for the next kick */
};

int aio_queue_open(void *disk, const struct sr_blk_queue_params *params, void **queue);
void aio_queue_close(void *queue);
enum sr_blk_submit aio_submit(void *queue, struct sr_blk_request *req);
void aio_kick(void *queue);
unsigned aio_reap(void *queue, struct sr_blk_request **done, unsigned max);
int aio_fd(void *queue);

#endif
