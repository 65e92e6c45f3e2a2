/* SPDX-License-Identifier: MIT */
#ifndef AIO_QUEUE_H
#define AIO_QUEUE_H

/*
 * A queue over one Linux AIO context: the aio driver's, and the uring driver's for images that lie
 * in memory. The functions are those of struct sr_blk_driver, and so is who may call them.
 */

#include <file/slow.h>
#include <file/transfer.h>

#include <libaio.h>

/* The request's scratch space. */
struct sr_aio_io {
	struct iocb iocb; /* its data is the request */
	struct sr_transfer transfer;
	struct iovec piece; /* what iocb points to when req->iov does not fit */
	struct sr_slow_job job;
	struct sr_blk_request *next; /* in sr_aio_queue.finished */
};

struct sr_aio_queue {
	const struct sr_file *file;
	io_context_t context;
	int event; /* an eventfd: what finishes behind our back counts up */
	unsigned depth, inflight;
	int64_t unread; /* requests taken that count in the eventfd, less what was read of it */
	struct sr_slow_queue slow;
	struct sr_blk_request *finished; /* without the ring; results set */
	unsigned batch_count;
	struct iocb *batch[]; /* `depth` of them, for the next kick */
};

int sr_aio_queue_open(const struct sr_file *file, struct sr_slow *slow, unsigned depth,
		      struct sr_aio_queue **queue);
void sr_aio_queue_close(void *queue);
enum sr_blk_submit sr_aio_submit(void *queue, struct sr_blk_request *req);
void sr_aio_kick(void *queue);
unsigned sr_aio_reap(void *queue, struct sr_blk_request **done, unsigned max);
int sr_aio_fd(void *queue);

#endif
