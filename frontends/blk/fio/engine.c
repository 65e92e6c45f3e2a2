/* SPDX-License-Identifier: MIT */

/*
 * fio's ioengine for PV disks: fio as the program of a guest.
 *
 *     fio --ioengine=external:PATH/libsplitring-fio.so --filename=xvda --hv=ADDRESS ...
 *
 * fio's buffers lie in granted memory, so nothing is copied. Written against fio's interface for
 * external engines. fio's headers stand last, as they define variables of common names.
 */

#include "disk.h"

#include <fio.h>
#include <optgroup.h>

/* Requests that may wait for the next publication while the backend has others to do. */
#define LAZY_BATCH 8u

struct options {
	void *pad; /* fio takes an offset of 0 for none */
	char *hv;
	unsigned int queues;
	unsigned int ring_order;
	unsigned int persistent;
	unsigned int indirect;
	unsigned int poll;
	unsigned int abi;
};

static struct fio_option options[] = {
	{
		.name = "hv",
		.lname = "Hypervisor",
		.type = FIO_OPT_STR_STORE,
		.off1 = offsetof(struct options, hv),
		.help = "Address of the hypervisor (default: $SPLITRING_HYPERVISOR)",
		.category = FIO_OPT_C_ENGINE,
		.group = FIO_OPT_G_INVALID,
	},
	{
		.name = "queues",
		.lname = "Queues",
		.type = FIO_OPT_INT,
		.off1 = offsetof(struct options, queues),
		.help = "Queues of the disk (default: one for each thread that uses it)",
		.def = "1",
		.minval = 1,
		.maxval = SR_BLKFRONT_MAX_QUEUES,
		.category = FIO_OPT_C_ENGINE,
		.group = FIO_OPT_G_INVALID,
	},
	{
		.name = "ring_order",
		.lname = "Ring order",
		.type = FIO_OPT_INT,
		.off1 = offsetof(struct options, ring_order),
		.help = "A ring has 2^ring_order pages",
		.def = "0",
		.maxval = SR_BLKIF_MAX_RING_ORDER,
		.category = FIO_OPT_C_ENGINE,
		.group = FIO_OPT_G_INVALID,
	},
	{
		.name = "persistent",
		.lname = "Persistent grants",
		.type = FIO_OPT_BOOL,
		.off1 = offsetof(struct options, persistent),
		.help = "Grant memory once, not for each request",
		.def = "1",
		.category = FIO_OPT_C_ENGINE,
		.group = FIO_OPT_G_INVALID,
	},
	{
		.name = "indirect",
		.lname = "Indirect segments",
		.type = FIO_OPT_INT,
		.off1 = offsetof(struct options, indirect),
		.help = "Most segments of an indirect request, 0: no such requests",
		.def = "256",
		.maxval = SR_BLKIF_MAX_INDIRECT_SEGS,
		.category = FIO_OPT_C_ENGINE,
		.group = FIO_OPT_G_INVALID,
	},
	{
		.name = "poll",
		.lname = "Poll",
		.type = FIO_OPT_BOOL,
		.off1 = offsetof(struct options, poll),
		.help = "Never sleep while waiting for the backend",
		.def = "0",
		.category = FIO_OPT_C_ENGINE,
		.group = FIO_OPT_G_INVALID,
	},
	{
		.name = "abi",
		.lname = "Ring ABI",
		.type = FIO_OPT_STR,
		.off1 = offsetof(struct options, abi),
		.help = "Layout of the ring",
		.def = "native",
		.posval = {
			{ .ival = "native", .oval = SR_BLKIF_ABI_NATIVE },
			{ .ival = "x86_32", .oval = SR_BLKIF_ABI_X86_32 },
			{ .ival = "x86_64", .oval = SR_BLKIF_ABI_X86_64 },
		},
		.category = FIO_OPT_C_ENGINE,
		.group = FIO_OPT_G_INVALID,
	},
	{ .name = NULL },
};

/* A file of fio's, which is a disk of ours. */
struct target {
	struct sr_fio_disk *disk;
	struct sr_blkfront_queue *queue;
	unsigned submitted; /* and not published */
	/*
	 * What found no room in the ring, oldest first: a circle of `size` entries. fio isn't told
	 * FIO_Q_BUSY: it would draw another seed for a request that it queues again, and its
	 * verification of mixed reads and writes would go wrong.
	 */
	struct io_u **backlog;
	unsigned first, waiting;
};

struct job {
	struct target *targets; /* one a file */
	unsigned target_count;
	bool lazy;
	unsigned depth;                /* the most requests that fio has out */
	struct sr_blkfront_done *done; /* reaped, and not given to fio yet: [done_at, done_end) */
	unsigned done_at, done_end;
	struct sr_blkfront_done *events; /* what the last getevents() gave */
	void *memory;
};

static void complain(const char *text)
{
	log_err("fio: splitring: %s\n", text);
}

static void job_free(struct job *job)
{
	for (unsigned i = 0; job->targets && i < job->target_count; i++)
		free(job->targets[i].backlog);
	free(job->targets);
	free(job->done);
	free(job);
}

static int find_targets(struct thread_data *td, struct job *job)
{
	const struct options *o = td->eo;
	const char *hv = o->hv ? o->hv : getenv("SPLITRING_HYPERVISOR");
	struct sr_blkfront_options front = SR_BLKFRONT_DEFAULTS;
	int rc;

	if (!hv || !*hv) {
		complain("hv= is missing, and SPLITRING_HYPERVISOR isn't set");
		return -EINVAL;
	}
	front.queues = o->queues;
	front.ring_order = o->ring_order;
	front.persistent = o->persistent;
	front.indirect_segments = o->indirect;
	front.poll = o->poll;
	front.abi = (enum sr_blkif_abi)o->abi;
	for (unsigned i = 0; i < job->target_count; i++) {
		struct target *t = &job->targets[i];
		struct fio_file *f = td->files[i];

		t->backlog = calloc(job->depth, sizeof(struct io_u *));
		if (!t->backlog)
			return -ENOMEM;
		front.device = f->file_name;
		rc = sr_fio_disk_find(hv, &front, td->o.use_thread, complain, &t->disk,
				      &f->real_file_size);
		if (rc)
			return rc;
		f->filetype = FIO_TYPE_BLOCK;
		fio_file_set_size_known(f);
	}
	return 0;
}

/* Before any job starts, in fio's own process. */
static int splitring_setup(struct thread_data *td)
{
	struct job *job;
	int rc;

	if (!td->files_index) {
		complain("filename= is missing: the name of a virtual disk, as xvda");
		td_verror(td, EINVAL, "setup");
		return 1;
	}
	job = calloc(1, sizeof(*job));
	if (!job)
		return 1;
	job->target_count = td->files_index;
	job->targets = calloc(job->target_count, sizeof(*job->targets));
	job->depth = td->o.iodepth;
	job->done = calloc(job->depth, 2 * sizeof(*job->done));
	rc = job->targets && job->done ? find_targets(td, job) : -ENOMEM;
	if (rc) {
		job_free(job);
		td_verror(td, -rc, "setup");
		return 1;
	}
	job->events = job->done + job->depth;
	td->io_ops_data = job;
	return 0;
}

/* In the job's own thread or process. */
static int splitring_init(struct thread_data *td)
{
	struct job *job = td->io_ops_data;
	const struct thread_options *o = &td->o;
	int rc;

	for (unsigned i = 0; i < job->target_count; i++) {
		rc = sr_fio_disk_join(job->targets[i].disk, complain, &job->targets[i].queue);
		if (rc) {
			td_verror(td, -rc, "connect");
			return rc;
		}
		FILE_SET_ENG_DATA(td->files[i], &job->targets[i]);
	}
	/* A job that naps between requests would let the backend wait for those not published. */
	job->lazy = o->iodepth > 1 && !o->thinktime && !td->flow;
	for (unsigned i = 0; i < DDIR_RWDIR_CNT; i++)
		job->lazy = job->lazy && !o->rate[i] && !o->rate_iops[i];
	return 0;
}

static void splitring_cleanup(struct thread_data *td)
{
	struct job *job = td->io_ops_data;

	if (!job)
		return;
	for (unsigned i = 0; i < job->target_count; i++) {
		struct target *t = &job->targets[i];

		if (!t->queue)
			continue;
		if (sr_fio_disk_trouble(t->disk)[0])
			complain(sr_fio_disk_trouble(t->disk));
		sr_fio_disk_leave(t->disk, t->queue);
	}
	job_free(job);
	td->io_ops_data = NULL;
}

/* Memory of the first disk; requests to others are copied through theirs. */
static int splitring_iomem_alloc(struct thread_data *td, size_t size)
{
	struct job *job = td->io_ops_data;
	int rc = sr_blkfront_alloc(job->targets[0].queue, size, &job->memory);

	if (rc) {
		log_err("fio: splitring: no %zu bytes of memory to grant: %s\n", size,
			strerror(-rc));
		return -rc;
	}
	td->orig_buffer = job->memory;
	return 0;
}

static void splitring_iomem_free(struct thread_data *td)
{
	struct job *job = td->io_ops_data;

	if (job->memory)
		(void)sr_blkfront_free(job->targets[0].queue, job->memory);
	job->memory = NULL;
}

static int splitring_io_u_init(struct thread_data *td, struct io_u *io_u)
{
	io_u->engine_data = calloc(1, sizeof(struct iovec));
	return io_u->engine_data ? 0 : 1;
}

static void splitring_io_u_free(struct thread_data *td, struct io_u *io_u)
{
	free(io_u->engine_data);
	io_u->engine_data = NULL;
}

/* 0, -EBUSY, or why it can't be done at all. */
static int submit(struct target *t, struct io_u *io_u)
{
	struct iovec *iov = io_u->engine_data;
	struct sr_blkfront_request req;
	int rc;

	req.offset = io_u->offset;
	req.length = io_u->xfer_buflen;
	req.iov = iov;
	req.iov_count = 1;
	req.tag = io_u;
	switch (io_u->ddir) {
	case DDIR_READ:
		req.op = SR_BLKFRONT_READ;
		break;
	case DDIR_WRITE:
		req.op = SR_BLKFRONT_WRITE;
		break;
	case DDIR_TRIM:
		req.op = SR_BLKFRONT_DISCARD;
		break;
	case DDIR_SYNC:
	case DDIR_DATASYNC:
	case DDIR_SYNC_FILE_RANGE:
		req.op = SR_BLKFRONT_FLUSH;
		break;
	default:
		return -EINVAL;
	}
	iov->iov_base = io_u->xfer_buf;
	iov->iov_len = io_u->xfer_buflen;
	rc = sr_blkfront_submit(t->queue, &req);
	if (!rc)
		t->submitted++;
	return rc;
}

/* A disk that can't be flushed has nothing to flush. */
static int outcome(const struct io_u *io_u, int rc)
{
	return rc == -EOPNOTSUPP && ddir_sync(io_u->ddir) ? 0 : rc;
}

static enum fio_q_status splitring_queue(struct thread_data *td, struct io_u *io_u)
{
	const struct job *job = td->io_ops_data;
	struct target *t = FILE_ENG_DATA(io_u->file);
	int rc;

	fio_ro_check(td, io_u);
	rc = t->waiting ? -EBUSY : submit(t, io_u);
	if (!rc)
		return FIO_Q_QUEUED;
	if (rc == -EBUSY) {
		t->backlog[(t->first + t->waiting++) % job->depth] = io_u;
		return FIO_Q_QUEUED;
	}
	io_u->error = (unsigned)-outcome(io_u, rc);
	if (io_u->error)
		td_verror(td, (int)io_u->error, "queue");
	return FIO_Q_COMPLETED;
}

/* There may be room now. What fails is done. */
static void submit_backlog(struct job *job, struct target *t)
{
	while (t->waiting) {
		struct io_u *io_u = t->backlog[t->first];
		int rc = submit(t, io_u);

		if (rc == -EBUSY)
			return;
		if (rc)
			job->done[job->done_end++] = (struct sr_blkfront_done){
				.tag = io_u,
				.error = outcome(io_u, rc),
			};
		t->first = (t->first + 1) % job->depth;
		t->waiting--;
	}
}

static int publish(struct target *t)
{
	t->submitted = 0;
	return sr_blkfront_kick(t->queue);
}

/*
 * fio calls this after each request unless told otherwise. While the backend has enough to do, the
 * next few requests are shown to it together: that costs one transfer of the ring's index instead
 * of one each. They are shown at the latest when getevents() looks at the ring.
 */
static int splitring_commit(struct thread_data *td)
{
	struct job *job = td->io_ops_data;
	int rc = 0;

	for (unsigned i = 0; i < job->target_count; i++) {
		struct target *t = &job->targets[i];

		if (!t->submitted)
			continue;
		if (job->lazy && sr_blkfront_in_flight(t->queue) > t->submitted) {
			if (t->submitted < LAZY_BATCH)
				continue;
			t->submitted = 0;
			sr_blkfront_kick_lazy(t->queue);
		} else {
			int kicked = publish(t);

			rc = rc ? rc : kicked;
		}
	}
	return rc;
}

static void publish_lazily(struct target *t)
{
	if (!t->submitted)
		return;
	t->submitted = 0;
	sr_blkfront_kick_lazy(t->queue);
}

/* Looks at every ring. */
static void reap_all(struct job *job)
{
	job->done_at = job->done_end = 0;
	for (unsigned i = 0; i < job->target_count; i++) {
		struct target *t = &job->targets[i];

		publish_lazily(t);
		job->done_end += sr_blkfront_reap(t->queue, job->done + job->done_end,
						  job->depth - job->done_end);
		if (t->waiting) {
			submit_backlog(job, t);
			publish_lazily(t);
		}
	}
}

/* Nothing was there: waits a while. With several disks in turns, as any may be the next. */
static int wait_for_any(struct job *job, int timeout_ms)
{
	struct sr_blkfront_queue *only = NULL;
	unsigned busy = 0;

	for (unsigned i = 0; i < job->target_count; i++) {
		if (sr_blkfront_in_flight(job->targets[i].queue)) {
			only = job->targets[i].queue;
			busy++;
		}
	}
	if (busy == 1)
		return sr_blkfront_wait(only, timeout_ms);
	for (unsigned i = 0; i < job->target_count; i++) {
		int rc = sr_blkfront_wait(job->targets[i].queue, busy ? 1 : 0);

		if (rc != -ETIMEDOUT && rc != -EAGAIN)
			return rc;
	}
	return busy ? 0 : -EAGAIN;
}

static int splitring_getevents(struct thread_data *td, unsigned int min, unsigned int max,
			       const struct timespec *timeout)
{
	int timeout_ms = timeout ? (int)(timeout->tv_sec * 1000 + timeout->tv_nsec / 1000000) : -1;
	struct job *job = td->io_ops_data;
	unsigned n = 0;
	int rc;

	for (;;) {
		while (n < max && job->done_at < job->done_end)
			job->events[n++] = job->done[job->done_at++];
		if (n == max)
			break;
		reap_all(job);
		if (job->done_end)
			continue;
		if (n >= min)
			break;
		rc = wait_for_any(job, timeout_ms);
		if (rc == -ETIMEDOUT)
			break;
		if (rc)
			return n ? (int)n : rc;
	}
	return (int)n;
}

static struct io_u *splitring_event(struct thread_data *td, int event)
{
	const struct job *job = td->io_ops_data;
	const struct sr_blkfront_done *done = &job->events[event];
	struct io_u *io_u = done->tag;

	if (done->error)
		io_u->error = (unsigned)-done->error;
	return io_u;
}

static int splitring_open_file(struct thread_data *td, struct fio_file *f)
{
	return 0;
}

static int splitring_close_file(struct thread_data *td, struct fio_file *f)
{
	return 0;
}

static int splitring_invalidate(struct thread_data *td, struct fio_file *f)
{
	return 0;
}

static int splitring_get_file_size(struct thread_data *td, struct fio_file *f)
{
	return 0; /* setup() has set it */
}

/* The name by which fio finds it. */
extern struct ioengine_ops ioengine;

struct ioengine_ops ioengine = {
	.name = "splitring",
	.version = FIO_IOOPS_VERSION,
	.flags = FIO_DISKLESSIO | FIO_NOEXTEND | FIO_NODISKUTIL | FIO_MEMALIGN | FIO_NO_OFFLOAD |
		 FIO_RAWIO,
	.setup = splitring_setup,
	.init = splitring_init,
	.cleanup = splitring_cleanup,
	.iomem_alloc = splitring_iomem_alloc,
	.iomem_free = splitring_iomem_free,
	.io_u_init = splitring_io_u_init,
	.io_u_free = splitring_io_u_free,
	.queue = splitring_queue,
	.commit = splitring_commit,
	.getevents = splitring_getevents,
	.event = splitring_event,
	.open_file = splitring_open_file,
	.close_file = splitring_close_file,
	.invalidate = splitring_invalidate,
	.get_file_size = splitring_get_file_size,
	.options = options,
	.option_struct_size = sizeof(struct options),
};
