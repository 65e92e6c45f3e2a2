/* SPDX-License-Identifier: MIT */
#include "backend.h"
#include "fake_driver.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static void *run(void *arg)
{
	struct backend *b = arg;

	b->result = sr_blkback_run(b->bb);
	return NULL;
}

void backend_start(struct backend *b, struct harness *h, const struct sr_blkback_options *options)
{
	struct sr_blkback_options opt = { 0 };

	memset(b, 0, sizeof(*b));
	if (options)
		opt = *options;
	b->log = (struct sr_log){
		.fd = STDERR_FILENO,
		.level = getenv("SR_TEST_LOG") ? SR_LOG_DEBUG : SR_LOG_ERROR,
	};
	assert_int_equal(sr_blk_registry_new(&b->registry), 0);
	assert_int_equal(sr_blk_registry_add(b->registry, &fake_driver, NULL, 0), 0);
	assert_int_equal(sr_hv_open(h->dom0, &b->hv), 0);
	opt.registry = b->registry;
	opt.log = &b->log;
	assert_int_equal(sr_blkback_new(b->hv, &opt, &b->bb), 0);
	assert_int_equal(pthread_create(&b->thread, NULL, run, b), 0);
}

void backend_stop(struct backend *b, enum sr_blkback_stop how)
{
	sr_blkback_stop(b->bb, how);
	pthread_join(b->thread, NULL);
	sr_blkback_free(b->bb);
	sr_hv_close(b->hv);
	sr_blk_registry_free(b->registry);
	assert_int_equal(b->result, 0);
}

void backend_device(struct backend *b, const struct harness_disk *disk,
		    struct sr_blkback_device *device)
{
	struct sr_blkback_device *list;
	bool found = false;
	size_t count;

	assert_int_equal(sr_blkback_list(b->bb, &list, &count), 0);
	for (size_t i = 0; i < count; i++)
		if (list[i].frontend == disk->domid && list[i].devid == disk->vdev) {
			*device = list[i];
			found = true;
		}
	free(list);
	assert_true(found);
}
