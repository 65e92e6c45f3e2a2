/* SPDX-License-Identifier: MIT */
#include "machine.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void *run(void *arg)
{
	sr_machine_run(arg);
	return NULL;
}

void machine_start(struct fixture *f, struct sr_machine_opts opts)
{
	opts.dir = f->dir;
	assert_int_equal(sr_machine_new(&opts, &f->machine), 0);
	assert_int_equal(pthread_create(&f->thread, NULL, run, f->machine), 0);
	assert_int_equal(sr_control_open(f->dir, &f->control), 0);
	f->stopped = false;
}

void machine_stop(struct fixture *f)
{
	sr_control_close(f->control);
	sr_machine_stop(f->machine);
	pthread_join(f->thread, NULL);
	sr_machine_free(f->machine);
	f->stopped = true;
}

int machine_setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	strcpy(f->parent, "/tmp/sr-embedded-XXXXXX");
	assert_non_null(mkdtemp(f->parent));
	snprintf(f->dir, sizeof(f->dir), "%s/m", f->parent);
	machine_start(f, (struct sr_machine_opts){ 0 });
	*state = f;
	return 0;
}

int machine_teardown(void **state)
{
	struct fixture *f = *state;

	if (!f->stopped)
		machine_stop(f);
	/* Only an empty directory goes: the machine has left nothing. */
	assert_int_equal(rmdir(f->parent), 0);
	free(f);
	return 0;
}

uint16_t machine_guest(struct fixture *f, const char *name)
{
	struct sr_domain_spec spec = {
		.kind = SR_KIND_GUEST, .name = name, .pages = 1024, .vcpus = 1
	};
	uint16_t domid;

	assert_int_equal(sr_control_create(f->control, &spec, &domid), 0);
	return domid;
}

const char *machine_address(const struct fixture *f, uint16_t domid)
{
	static char address[128];

	snprintf(address, sizeof(address), "embedded:%s#%u", f->dir, domid);
	return address;
}
