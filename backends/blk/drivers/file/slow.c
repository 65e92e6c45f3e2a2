/* SPDX-License-Identifier: MIT */
#include <file/slow.h>

#include <signal.h>
#include <sys/eventfd.h>

void sr_slow_init(struct sr_slow *slow, const struct sr_file *file)
{
	*slow = (struct sr_slow){ .file = file, .last = &slow->first };
	pthread_mutex_init(&slow->lock, NULL);
	pthread_cond_init(&slow->wake, NULL);
}

static void run(struct sr_slow *slow, struct sr_blk_request *req)
{
	if (req->op == SR_BLK_FLUSH)
		req->result = sr_file_flush(slow->file);
	else
		req->result = sr_file_discard(slow->file, req);
}

static void *worker(void *arg)
{
	struct sr_slow *slow = arg;
	struct sr_slow_job *job;

	pthread_mutex_lock(&slow->lock);
	for (;;) {
		while (!slow->first && !slow->stop)
			pthread_cond_wait(&slow->wake, &slow->lock);
		job = slow->first;
		if (!job)
			break;
		slow->first = job->next;
		if (!slow->first)
			slow->last = &slow->first;
		pthread_mutex_unlock(&slow->lock);
		run(slow, job->req);
		pthread_mutex_lock(&slow->lock);
		job->next = job->queue->done;
		job->queue->done = job;
		/*
		 * Under the lock: once the owner sees the job done it may close its queue, and the
		 * eventfd with it.
		 */
		eventfd_write(job->queue->event, 1);
	}
	pthread_mutex_unlock(&slow->lock);
	return NULL;
}

/* Starts the thread. It has no signal handler to run: those are for the daemon's own threads. */
static int start(struct sr_slow *slow)
{
	pthread_attr_t attr;
	sigset_t all, old;
	int err;

	sigfillset(&all);
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, 128 * 1024);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	err = pthread_create(&slow->thread, &attr, worker, slow);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	pthread_attr_destroy(&attr);
	slow->running = !err;
	return -err;
}

void sr_slow_fini(struct sr_slow *slow)
{
	if (slow->running) {
		pthread_mutex_lock(&slow->lock);
		slow->stop = true;
		pthread_cond_signal(&slow->wake);
		pthread_mutex_unlock(&slow->lock);
		pthread_join(slow->thread, NULL);
	}
	pthread_cond_destroy(&slow->wake);
	pthread_mutex_destroy(&slow->lock);
}

void sr_slow_queue_init(struct sr_slow_queue *queue, struct sr_slow *slow, int event)
{
	*queue = (struct sr_slow_queue){ .slow = slow, .event = event };
}

enum sr_blk_submit sr_slow_submit(struct sr_slow_queue *queue, struct sr_slow_job *job,
				  struct sr_blk_request *req)
{
	struct sr_slow *slow = queue->slow;
	int err = 0;

	*job = (struct sr_slow_job){ .req = req, .queue = queue };
	pthread_mutex_lock(&slow->lock);
	if (!slow->running)
		err = start(slow);
	if (!err) {
		*slow->last = job;
		slow->last = &job->next;
		pthread_cond_signal(&slow->wake);
		queue->inflight++;
	}
	pthread_mutex_unlock(&slow->lock);
	/* A request that is queued may be finished by now: it is not ours to touch. */
	if (!err)
		return SR_BLK_QUEUED;
	req->result = err;
	return SR_BLK_DONE;
}

unsigned sr_slow_reap(struct sr_slow_queue *queue, struct sr_blk_request **done, unsigned max)
{
	struct sr_slow_job *job;
	unsigned n = 0;

	if (!queue->inflight)
		return 0;
	pthread_mutex_lock(&queue->slow->lock);
	while (n < max && (job = queue->done)) {
		queue->done = job->next;
		done[n++] = job->req;
	}
	pthread_mutex_unlock(&queue->slow->lock);
	queue->inflight -= n;
	return n;
}
