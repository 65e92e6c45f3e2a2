/* SPDX-License-Identifier: MIT */
#include "disk.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <hypervisor.h>

struct sr_fio_disk {
	struct sr_fio_disk *next;
	char *address; /* of the hypervisor */
	char *device;
	struct sr_blkfront_options options; /* of the job that named it first */
	uint64_t size;
	unsigned thread_jobs;
	/* In memory that forked jobs share: which process is connected. A device has one frontend.
	 */
	_Atomic pid_t *owner;

	/* Of this process only. */
	struct sr_hypervisor *hv;
	struct sr_blkfront *front;
	uint64_t queues_used; /* bits */
	unsigned users;
};

/* Taken on each job's way in and out, never for I/O. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct sr_fio_disk *disks;

_Static_assert(SR_BLKFRONT_MAX_QUEUES <= 64, "a bit each");

static int connect_front(struct sr_fio_disk *d, unsigned queues, sr_fio_complain *complain)
{
	char error[512] = "", text[700];
	struct sr_blkfront_options options = d->options;
	int rc;

	options.device = d->device;
	options.queues = queues;
	options.error = error;
	options.error_size = sizeof(error);
	rc = sr_hv_open(d->address, &d->hv);
	if (rc) {
		snprintf(text, sizeof(text), "can't open the hypervisor %s: %s", d->address,
			 strerror(-rc));
		complain(text);
		d->hv = NULL;
		return rc;
	}
	rc = sr_blkfront_open(d->hv, &options, &d->front);
	if (rc) {
		snprintf(text, sizeof(text), "can't connect disk %s: %s", d->device, error);
		complain(text);
		sr_hv_close(d->hv);
		d->hv = NULL;
		d->front = NULL;
	}
	return rc;
}

static void disconnect_front(struct sr_fio_disk *d)
{
	(void)sr_blkfront_close(d->front);
	sr_hv_close(d->hv);
	d->front = NULL;
	d->hv = NULL;
}

static void disk_free(struct sr_fio_disk *d)
{
	if (d->owner)
		munmap(d->owner, sizeof(*d->owner));
	free(d->address);
	free(d->device);
	free(d);
}

static int disk_new(const char *hv, const struct sr_blkfront_options *options,
		    sr_fio_complain *complain, struct sr_fio_disk **disk)
{
	struct sr_fio_disk *d = calloc(1, sizeof(*d));
	void *shared;
	int rc = -ENOMEM;

	if (!d)
		return rc;
	d->options = *options;
	d->address = strdup(hv);
	d->device = strdup(options->device);
	shared = mmap(NULL, sizeof(*d->owner), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
		      -1, 0);
	if (shared != MAP_FAILED)
		d->owner = shared;
	if (d->address && d->device && d->owner)
		rc = connect_front(d, 1, complain);
	if (rc) {
		disk_free(d);
		return rc;
	}
	d->size = sr_blkfront_size(d->front);
	disconnect_front(d);
	*disk = d;
	return 0;
}

static int find(const char *hv, const struct sr_blkfront_options *options, bool thread,
		sr_fio_complain *complain, struct sr_fio_disk **disk)
{
	struct sr_fio_disk *d;
	int rc;

	for (d = disks; d; d = d->next) {
		if (!strcmp(d->address, hv) && !strcmp(d->device, options->device))
			break;
	}
	if (!d) {
		rc = disk_new(hv, options, complain, &d);
		if (rc)
			return rc;
		d->next = disks;
		disks = d;
	}
	if (thread)
		d->thread_jobs++;
	*disk = d;
	return 0;
}

int sr_fio_disk_find(const char *hv, const struct sr_blkfront_options *options, bool thread,
		     sr_fio_complain *complain, struct sr_fio_disk **disk, uint64_t *size)
{
	int rc;

	pthread_mutex_lock(&lock);
	rc = find(hv, options, thread, complain, disk);
	if (!rc)
		*size = (*disk)->size;
	pthread_mutex_unlock(&lock);
	return rc;
}

static int enter(struct sr_fio_disk *d, sr_fio_complain *complain)
{
	unsigned queues = d->options.queues;
	pid_t nobody = 0;
	char text[256];
	int rc;

	if (d->users)
		return 0;
	if (!atomic_compare_exchange_strong(d->owner, &nobody, getpid())) {
		snprintf(
		    text, sizeof(text),
		    "disk %s is in use by another job, process %d: jobs that share a disk at the "
		    "same time have to be threads (thread=1)",
		    d->device, (int)nobody);
		complain(text);
		return -EBUSY;
	}
	if (queues < d->thread_jobs)
		queues = d->thread_jobs;
	if (queues > SR_BLKFRONT_MAX_QUEUES)
		queues = SR_BLKFRONT_MAX_QUEUES;
	rc = connect_front(d, queues, complain);
	if (rc)
		atomic_store(d->owner, 0);
	return rc;
}

static void maybe_disconnect(struct sr_fio_disk *d)
{
	if (d->users)
		return;
	disconnect_front(d);
	atomic_store(d->owner, 0);
}

static int join(struct sr_fio_disk *d, sr_fio_complain *complain, struct sr_blkfront_queue **queue)
{
	char text[256];
	unsigned count;
	int rc;

	rc = enter(d, complain);
	if (rc)
		return rc;
	count = sr_blkfront_info(d->front)->queues;
	for (unsigned i = 0; i < count; i++) {
		if (d->queues_used & 1ull << i)
			continue;
		d->queues_used |= 1ull << i;
		d->users++;
		*queue = sr_blkfront_queue(d->front, i);
		return 0;
	}
	snprintf(text, sizeof(text),
		 "disk %s has %u queues, which are all in use: no more jobs than "
		 "queues can share it",
		 d->device, count);
	complain(text);
	maybe_disconnect(d);
	return -EBUSY;
}

int sr_fio_disk_join(struct sr_fio_disk *d, sr_fio_complain *complain,
		     struct sr_blkfront_queue **queue)
{
	int rc;

	pthread_mutex_lock(&lock);
	rc = join(d, complain, queue);
	pthread_mutex_unlock(&lock);
	return rc;
}

void sr_fio_disk_leave(struct sr_fio_disk *d, struct sr_blkfront_queue *queue)
{
	pthread_mutex_lock(&lock);
	for (unsigned i = 0; i < sr_blkfront_info(d->front)->queues; i++) {
		if (sr_blkfront_queue(d->front, i) == queue)
			d->queues_used &= ~(1ull << i);
	}
	d->users--;
	maybe_disconnect(d);
	pthread_mutex_unlock(&lock);
}

const char *sr_fio_disk_trouble(const struct sr_fio_disk *d)
{
	return sr_blkfront_reason(d->front);
}
