/* SPDX-License-Identifier: MIT */

/*
 * One AIO context a queue. submit() gathers control blocks, kick() hands them over with one system
 * call, and reap() takes the answers from the ring that the kernel shares with us, with none.
 */

#include <aio/queue.h>

#include <sys/eventfd.h>
#include <sys/uio.h>
#include <unistd.h>

/* How often a batch that the kernel refuses with "again" is handed over. */
#define RETRIES 100u

/* The head of the completion ring: the kernel's ABI, which has no header. */
struct aio_ring {
	uint32_t id;
	uint32_t count;
	uint32_t head; /* ours */
	uint32_t tail; /* the kernel's */
	uint32_t magic;
	uint32_t compatible, incompatible;
	uint32_t header_length;
	struct io_event events[];
};

#define AIO_RING_MAGIC 0xa10a10a1u

static struct sr_aio_io *io_of(struct sr_blk_request *req)
{
	return req->scratch;
}

int sr_aio_queue_open(const struct sr_file *file, struct sr_slow *slow, unsigned depth,
		      struct sr_aio_queue **out)
{
	struct sr_aio_queue *queue;
	struct aio_ring *ring;
	int err;

	queue = calloc(1, sizeof(*queue) + depth * sizeof(queue->batch[0]));
	if (!queue)
		return -ENOMEM;
	queue->file = file;
	queue->depth = depth;
	queue->event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (queue->event < 0) {
		err = -errno;
		goto out_free;
	}
	err = io_setup((int)depth, &queue->context);
	if (err)
		goto out_event;
	ring = (struct aio_ring *)queue->context;
	if (ring->magic != AIO_RING_MAGIC || ring->incompatible) {
		err = -ENOTSUP;
		goto out_context;
	}
	sr_slow_queue_init(&queue->slow, slow, queue->event);
	*out = queue;
	return 0;
out_context:
	io_destroy(queue->context);
out_event:
	close(queue->event);
out_free:
	free(queue);
	return err;
}

void sr_aio_queue_close(void *arg)
{
	struct sr_aio_queue *queue = arg;

	io_destroy(queue->context);
	close(queue->event);
	free(queue);
}

/* Fills the control block and puts it into the batch. */
static void prepare(struct sr_aio_queue *queue, struct sr_blk_request *req)
{
	struct sr_aio_io *io = io_of(req);
	int fd = queue->file->fd;
	long long offset = (long long)(req->offset + io->transfer.moved);
	const struct iovec *iov = &io->piece;
	int count = 1;

	if (req->op == SR_BLK_FLUSH) {
		io_prep_fdsync(&io->iocb, fd);
	} else {
		if (!sr_transfer_piece(&io->transfer, req, &io->piece)) {
			iov = req->iov;
			count = (int)req->iov_count;
		}
		if (req->op == SR_BLK_READ)
			io_prep_preadv(&io->iocb, fd, iov, count, offset);
		else
			io_prep_pwritev(&io->iocb, fd, iov, count, offset);
	}
	io->iocb.data = req;
	/* What goes through the page cache is finished when io_submit() returns: no need to tell.
	 */
	if (queue->file->direct || req->op == SR_BLK_FLUSH)
		io_set_eventfd(&io->iocb, queue->event);
	queue->batch[queue->batch_count++] = &io->iocb;
}

enum sr_blk_submit sr_aio_submit(void *arg, struct sr_blk_request *req)
{
	struct sr_aio_queue *queue = arg;
	struct sr_aio_io *io = io_of(req);

	if (req->op == SR_BLK_DISCARD)
		return sr_slow_submit(&queue->slow, &io->job, req);
	if (queue->inflight >= queue->depth)
		return SR_BLK_BUSY;
	io->transfer = (struct sr_transfer){ 0 };
	prepare(queue, req);
	queue->inflight++;
	return SR_BLK_QUEUED;
}

static void finish(struct sr_aio_queue *queue, struct sr_blk_request *req)
{
	io_of(req)->next = queue->finished;
	queue->finished = req;
}

/* The kernel refuses the block with `err`: the request's end, or the slow lane's if that can do it.
 */
static void refused(struct sr_aio_queue *queue, struct iocb *iocb, int err)
{
	struct sr_blk_request *req = iocb->data;

	if (req->op == SR_BLK_FLUSH &&
	    sr_slow_submit(&queue->slow, &io_of(req)->job, req) == SR_BLK_QUEUED) {
		queue->inflight--;
		return;
	}
	req->result = err;
	finish(queue, req);
}

/* One call of the kernel, for one piece where that is all: it need not read a list then. */
static int64_t move(int fd, const struct sr_blk_request *req, const struct sr_transfer *transfer)
{
	bool read = req->op == SR_BLK_READ;
	off_t offset = (off_t)(req->offset + transfer->moved);
	struct iovec piece;
	ssize_t n;

	if (sr_transfer_piece(transfer, req, &piece))
		n = read ? pread(fd, piece.iov_base, piece.iov_len, offset)
			 : pwrite(fd, piece.iov_base, piece.iov_len, offset);
	else
		n = read ? preadv(fd, req->iov, (int)req->iov_count, offset)
			 : pwritev(fd, req->iov, (int)req->iov_count, offset);
	return n < 0 ? -errno : n;
}

/* A plain read or write: what the control block says, until nothing is left of it. */
static void transfer_now(struct sr_aio_queue *queue, struct sr_blk_request *req)
{
	struct sr_transfer *transfer = &io_of(req)->transfer;

	while (!sr_transfer_settle(transfer, req, move(queue->file->fd, req, transfer)))
		;
	finish(queue, req);
}

/*
 * One request alone, through the page cache: AIO would do it inside its call as well, and a plain
 * call needs less around it.
 */
static bool is_lone_transfer(const struct sr_aio_queue *queue)
{
	const struct sr_blk_request *req;

	if (queue->batch_count != 1 || queue->file->direct)
		return false;
	req = queue->batch[0]->data;
	return req->op == SR_BLK_READ || req->op == SR_BLK_WRITE;
}

void sr_aio_kick(void *arg)
{
	struct sr_aio_queue *queue = arg;
	unsigned at = 0, tries = 0;

	if (is_lone_transfer(queue)) {
		queue->batch_count = 0;
		transfer_now(queue, queue->batch[0]->data);
		return;
	}
	while (at < queue->batch_count) {
		int n =
		    io_submit(queue->context, (long)(queue->batch_count - at), queue->batch + at);

		if (n > 0)
			at += (unsigned)n;
		else if ((n != -EAGAIN && n != -EINTR) || tries++ == RETRIES)
			refused(queue, queue->batch[at++], n < 0 ? n : -EIO);
	}
	queue->batch_count = 0;
}

static unsigned reap_ring(struct sr_aio_queue *queue, struct sr_blk_request **done, unsigned max)
{
	struct aio_ring *ring = (struct aio_ring *)queue->context;
	uint32_t head = ring->head, tail = __atomic_load_n(&ring->tail, __ATOMIC_ACQUIRE);
	unsigned n = 0;

	while (n < max && head != tail) {
		const struct io_event *event = &ring->events[head];
		struct sr_blk_request *req = event->data;

		queue->unread += io_of(req)->iocb.u.c.flags != 0;
		/* A long, that came as a 64-bit number: errors are negative. */
		if (sr_transfer_settle(&io_of(req)->transfer, req, (long)event->res))
			done[n++] = req;
		else
			prepare(queue, req);
		head = head + 1 == ring->count ? 0 : head + 1;
	}
	/* With release: the kernel may write the events again once it sees this. */
	__atomic_store_n(&ring->head, head, __ATOMIC_RELEASE);
	return n;
}

static unsigned reap_all(struct sr_aio_queue *queue, struct sr_blk_request **done, unsigned max)
{
	unsigned n = reap_ring(queue, done, max), slow;

	queue->inflight -= n;
	slow = sr_slow_reap(&queue->slow, done + n, max - n);
	queue->unread += slow;
	return n + slow;
}

/*
 * The eventfd is read only when it counts something that was taken, not at each look; and as that
 * may take the count of others that have just finished, they are looked for again.
 */
static unsigned reap_and_drain(struct sr_aio_queue *queue, struct sr_blk_request **done,
			       unsigned max)
{
	unsigned n = reap_all(queue, done, max);
	eventfd_t count;

	if (n == max || queue->unread <= 0 || eventfd_read(queue->event, &count))
		return n;
	queue->unread -= (int64_t)count;
	return n + reap_all(queue, done + n, max - n);
}

unsigned sr_aio_reap(void *arg, struct sr_blk_request **done, unsigned max)
{
	struct sr_aio_queue *queue = arg;
	unsigned n = 0;

	for (;;) {
		while (n < max && queue->finished) {
			done[n++] = queue->finished;
			queue->finished = io_of(queue->finished)->next;
			queue->inflight--;
		}
		n += reap_and_drain(queue, done + n, max - n);
		if (!queue->batch_count)
			return n;
		/* Rests of requests: what is finished at once tells nobody, so look again. */
		sr_aio_kick(queue);
	}
}

int sr_aio_fd(void *arg)
{
	struct sr_aio_queue *queue = arg;

	return queue->event;
}
