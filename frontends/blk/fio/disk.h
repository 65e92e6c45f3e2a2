/* SPDX-License-Identifier: MIT */
#ifndef SR_FIO_DISK_H
#define SR_FIO_DISK_H

/*
 * The disks that this fio uses. Jobs that are threads share one frontend a disk, a queue each; a
 * job that is a process of its own opens the disk there, as no connection survives fork().
 */

#include <stdbool.h>
#include <stdint.h>

#include <blkfront/blkfront.h>

struct sr_fio_disk;

/* Says what went wrong: fio's log_err, or a test's. */
typedef void sr_fio_complain(const char *text);

/*
 * Finds the disk `options->device` behind the hypervisor at `hv`, and its size in bytes; connects
 * for a moment if it isn't known. To be called once by each job, before any of them starts.
 */
int sr_fio_disk_find(const char *hv, const struct sr_blkfront_options *options, bool thread,
		     sr_fio_complain *complain, struct sr_fio_disk **disk, uint64_t *size);

/* A queue of the disk for the calling job; the first one connects. */
int sr_fio_disk_join(struct sr_fio_disk *disk, sr_fio_complain *complain,
		     struct sr_blkfront_queue **queue);
/* The last one disconnects. The queue's memory is free already. */
void sr_fio_disk_leave(struct sr_fio_disk *disk, struct sr_blkfront_queue *queue);

/* While joined. */
const char *sr_fio_disk_trouble(const struct sr_fio_disk *disk);

#endif
