/* SPDX-License-Identifier: MIT */
#ifndef TEST_MACHINE_H
#define TEST_MACHINE_H

/* An embedded machine in a thread of the test. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <embedded/control.h>
#include <embedded/machine.h>
#include <hypervisor.h>
#include <pthread.h>

struct fixture {
	char parent[64], dir[96];
	struct sr_machine *machine;
	struct sr_control *control;
	pthread_t thread;
	bool stopped; /* by the test itself */
};

int machine_setup(void **state);
int machine_teardown(void **state);
/* `opts` with the directory filled in. */
void machine_start(struct fixture *f, struct sr_machine_opts opts);
void machine_stop(struct fixture *f);

uint16_t machine_guest(struct fixture *f, const char *name);
/* "embedded:DIR#DOMID"; one static buffer. */
const char *machine_address(const struct fixture *f, uint16_t domid);

#define MACHINE_TEST(fn) cmocka_unit_test_setup_teardown(fn, machine_setup, machine_teardown)

#endif
