/* SPDX-License-Identifier: MIT */
/*
 * Killed at any instruction. One test takes that literally: it single-steps a process through map,
 * copy and unmap, and after every instruction has the machine recover from its death at that point,
 * checks that nothing is left, puts the shared memory back, and lets it take the next step. Another
 * kills real processes at random moments while others work on the same grants.
 */
#include "harness.h"
#include "machine.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

#define NR_REFS 4

/* Two guests; `work` is done by dom0's connection in a process of its own. `other` holds pins of
 * its own on two of the references, which have to outlive all. */
struct fixture {
	struct machine *m;
	uint16_t dom0, a, b, id, other_id;
	struct sr_conn *conn, *other;
	struct sr_grant_table *tab_a, *tab_b;
	uint32_t ref[NR_REFS]; /* in a: unmapped, mapped by other for reading, for writing, to b */
	uint32_t via;          /* in b: transitive to ref[3], if version 2 */
	uint32_t version;
};

static struct fixture *open_fixture(void **state, uint32_t version)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct sr_grant_map op;
	uint32_t v = version;

	f->m = *state;
	f->version = version;
	f->dom0 = make_domain(f->m, SR_ROLE_DOM0);
	f->a = make_domain(f->m, SR_ROLE_GUEST);
	f->b = make_domain(f->m, SR_ROLE_GUEST);
	assert_int_equal(sr_core_set_version(f->m->core, f->a, &v), 0);
	assert_int_equal(sr_core_set_version(f->m->core, f->b, &v), 0);
	f->tab_a = table_of(f->m, f->a);
	f->tab_b = table_of(f->m, f->b);
	for (uint32_t i = 0; i < 3; i++)
		f->ref[i] = grant(f->tab_a, f->dom0, i, false);
	f->ref[3] = grant(f->tab_a, f->b, 3, false);
	f->via = grant(f->tab_b, f->dom0, 4, false);
	if (version == 2)
		sr_grant_table_grant_transitive(f->tab_b, f->via, f->dom0, f->a, f->ref[3], false);
	f->conn = connect_as(f->m, f->dom0, 8, &f->id);
	f->other = connect_as(f->m, f->dom0, 8, &f->other_id);
	assert_int_equal(map_ref(f->other, f->a, f->ref[1], GNTMAP_readonly, &op), GNTST_okay);
	assert_int_equal(map_ref(f->other, f->a, f->ref[2], 0, &op), GNTST_okay);
	/* Views are opened before the work begins, as mappings are not what is tested. */
	assert_non_null(sr_conn_view(f->conn, f->a));
	assert_non_null(sr_conn_view(f->conn, f->b));
	return f;
}

/* Exactly the other connection's pins and marks are left, and no lock. */
static void check_clean(struct fixture *f)
{
	static const uint16_t marks[NR_REFS] = { 0, GTF_reading, GTF_reading | GTF_writing, 0 };
	static const uint64_t words[NR_REFS] = { 0, SR_ACTIVE_READ_ONE, SR_ACTIVE_WRITE_ONE, 0 };
	struct sr_foreign *a = sr_core_domain_view(f->m->core, f->a);
	struct sr_foreign *b = sr_core_domain_view(f->m->core, f->b);

	for (int i = 0; i < NR_REFS; i++) {
		assert_int_equal(atomic_load(&a->active[f->ref[i]].word), words[i]);
		assert_int_equal(sr_grant_table_in_use(f->tab_a, f->ref[i]), marks[i]);
	}
	assert_int_equal(atomic_load(&b->active[f->via].word), 0);
	assert_int_equal(sr_grant_table_in_use(f->tab_b, f->via), 0);
}

static void close_fixture(struct fixture *f)
{
	disconnect(f->m, f->other, f->other_id);
	assert_int_equal(pins_of(f->m, f->a), 0);
	sr_grant_table_destroy(f->tab_a);
	sr_grant_table_destroy(f->tab_b);
	free(f);
}

static void copy(struct fixture *f, uint32_t src, uint16_t dom, uint32_t dst)
{
	char buf[8];
	struct sr_grant_copy s[2] = {
		{ .source.grant = { .ref = src, .domid = dom },
		  .dest.grant = { .ref = dst, .domid = f->a, .offset = 64 },
		  .len = 8,
		  .flags = SR_COPY_SOURCE_GRANT | SR_COPY_DEST_GRANT },
		{ .source.grant = { .ref = src, .domid = dom },
		  .dest.virt = buf,
		  .len = 8,
		  .flags = SR_COPY_SOURCE_GRANT },
	};

	sr_grant_copy(f->conn, s, 2);
	if (s[0].status || s[1].status)
		_exit(3);
}

/* Every kind of operation on every kind of entry. A wrong result ends the process with 3. */
static void work(struct fixture *f)
{
	struct sr_grant_map op[2 * NR_REFS];
	int n = 0;

	for (int i = 0; i < 3; i++) {
		if (map_ref(f->conn, f->a, f->ref[i], GNTMAP_readonly, &op[n++]) != GNTST_okay)
			_exit(3);
		if (map_ref(f->conn, f->a, f->ref[i], 0, &op[n++]) != GNTST_okay)
			_exit(3);
	}
	copy(f, f->ref[0], f->a, f->ref[1]);
	if (unmap_handle(f->conn, op[1].handle) || unmap_handle(f->conn, op[0].handle))
		_exit(3);
	copy(f, f->ref[0], f->a, f->ref[1]);
	copy(f, f->ref[0], f->a, f->ref[0]);
	copy(f, f->via, f->b, f->ref[0]);
	for (int i = 2; i < n; i++)
		if (unmap_handle(f->conn, op[i].handle))
			_exit(3);
	if (map_ref(f->conn, f->a, f->ref[3], 0, op) != GNTST_general_error)
		_exit(3);
}

/* ---- step by step ---- */

#define SNAP_SIZE (2 * SR_PAGE_SIZE)

/* The pages that work changes: of each guest entries, active words and marks, and the maptrack. */
struct snapshot {
	uint8_t *where[7];
	uint8_t data[7][SNAP_SIZE];
};

static void snapshot_places(struct fixture *f, struct snapshot *s)
{
	struct sr_foreign *a = sr_core_domain_view(f->m->core, f->a);
	struct sr_foreign *b = sr_core_domain_view(f->m->core, f->b);

	s->where[0] = (uint8_t *)f->conn->header;
	s->where[1] = (uint8_t *)a->active;
	s->where[2] = (uint8_t *)b->active;
	s->where[3] = a->table;
	s->where[4] = b->table;
	s->where[5] = a->status_base;
	s->where[6] = b->status_base;
}

static void snapshot_take(struct snapshot *s)
{
	for (int i = 0; i < 7; i++)
		memcpy(s->data[i], s->where[i], i < 5 ? SNAP_SIZE : SR_PAGE_SIZE);
}

static void snapshot_put_back(struct snapshot *s)
{
	for (int i = 0; i < 7; i++)
		memcpy(s->where[i], s->data[i], i < 5 ? SNAP_SIZE : SR_PAGE_SIZE);
}

/* Did any of it change since? Only then there is something new to recover from. */
static bool snapshot_stale(const struct snapshot *s)
{
	for (int i = 0; i < 7; i++)
		if (memcmp(s->where[i], s->data[i], i < 5 ? SNAP_SIZE : SR_PAGE_SIZE))
			return true;
	return false;
}

static pid_t start_traced(struct fixture *f)
{
	pid_t pid = fork();

	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) < 0)
			_exit(77);
		raise(SIGSTOP);
		work(f);
		raise(SIGSTOP);
		_exit(0);
	}
	return pid;
}

static void step_through(void **state, uint32_t version)
{
	struct fixture *f = open_fixture(state, version);
	struct snapshot *s = calloc(1, sizeof(*s));
	struct sr_connection *c = f->m->core->connections[f->id];
	uint32_t steps = 0, recovered = 0;
	pid_t pid = start_traced(f);
	int status;

	snapshot_places(f, s);
	waitpid(pid, &status, 0);
	if (WIFEXITED(status)) {
		free(s);
		sr_conn_close(f->conn);
		close_fixture(f);
		print_message("# no ptrace here\n");
		skip();
	}
	for (;;) {
		if (steps == 0 || snapshot_stale(s)) {
			snapshot_take(s);
			assert_true(sr_recover(f->m->core, c));
			check_clean(f);
			snapshot_put_back(s);
			recovered++;
		}
		assert_int_equal(ptrace(PTRACE_SINGLESTEP, pid, NULL, NULL), 0);
		waitpid(pid, &status, 0);
		assert_true(WIFSTOPPED(status));
		if (WSTOPSIG(status) == SIGSTOP && steps > 0)
			break;
		steps++;
	}
	kill(pid, SIGKILL);
	waitpid(pid, &status, 0);
	print_message("# %u instructions, %u states of the shared memory\n", steps, recovered);
	/* Were it fewer, the work was not done. */
	assert_true(recovered > 100);
	check_clean(f);
	assert_int_equal(sr_core_connection_dead(f->m->core, f->id), 0);
	sr_conn_close(f->conn);
	free(s);
	close_fixture(f);
}

static void test_every_instruction_v1(void **state)
{
	step_through(state, 1);
}

static void test_every_instruction_v2(void **state)
{
	step_through(state, 2);
}

/* ---- at random ---- */

static void random_kills(void **state, uint32_t version, int rounds)
{
	struct fixture *f = open_fixture(state, version);

	sr_core_connection_dead(f->m->core, f->id);
	sr_conn_close(f->conn);
	for (int round = 0; round < rounds; round++) {
		struct sr_conn *conn[2];
		uint16_t id[2];
		pid_t pid[2];
		int status;

		/* Two at a time, so that one may die while the other waits for its lock. */
		for (int k = 0; k < 2; k++) {
			conn[k] = connect_as(f->m, f->dom0, 8, &id[k]);
			pid[k] = fork();
			if (pid[k] == 0) {
				prctl(PR_SET_PDEATHSIG, SIGKILL);
				f->conn = conn[k];
				for (;;)
					work(f);
			}
		}
		usleep((useconds_t)(rand() % 3000));
		for (int k = 0; k < 2; k++) {
			kill(pid[k], SIGKILL);
			waitpid(pid[k], &status, 0);
			assert_true(WIFSIGNALED(status));
		}
		/* Each may hold a lock the other's handles need. */
		for (int k = 0; k < 2; k++) {
			assert_int_equal(sr_core_connection_dead(f->m->core, id[k]), 0);
			sr_conn_close(conn[k]);
		}
		check_clean(f);
	}
	close_fixture(f);
}

static void test_random_kills_v1(void **state)
{
	random_kills(state, 1, 30);
}

static void test_random_kills_v2(void **state)
{
	random_kills(state, 2, 30);
}

/* ---- who waits for the dead ---- */

/* A dead connection's lock keeps another dead one's pin: it waits until the first is known to be
 * dead. */
static void test_dead_waits_for_dead(void **state)
{
	struct fixture *f = open_fixture(state, 1);
	struct sr_foreign *a = sr_core_domain_view(f->m->core, f->a);
	struct sr_domain_info info;
	struct sr_grant_map op;
	struct sr_entry e;
	uint16_t id;
	struct sr_conn *locker = connect_as(f->m, f->dom0, 8, &id);

	assert_int_equal(map_ref(f->conn, f->a, f->ref[0], 0, &op), GNTST_okay);
	sr_journal_begin(locker, SR_JOURNAL_COPY, 0);
	assert_int_equal(sr_entry_open(locker, a, f->ref[0], 2, true, &e), GNTST_okay);
	assert_int_equal(sr_core_connection_dead(f->m->core, f->id), 0);
	assert_int_equal(sr_active_writers(atomic_load(&a->active[f->ref[0]].word)), 1);
	assert_int_equal(sr_core_domain_info(f->m->core, f->dom0, &info), 0);
	assert_int_equal(info.connections, 3);
	assert_int_equal(sr_core_connection_dead(f->m->core, id), 0);
	check_clean(f);
	assert_int_equal(sr_core_domain_info(f->m->core, f->dom0, &info), 0);
	assert_int_equal(info.connections, 1);
	/* The table's version cannot change under a lock, and the machine does not wait for ever.
	 */
	sr_conn_close(locker);
	sr_conn_close(f->conn);
	close_fixture(f);
}

static void test_locked_entry_and_the_machine(void **state)
{
	struct fixture *f = open_fixture(state, 1);
	struct sr_foreign *b = sr_core_domain_view(f->m->core, f->b);
	struct sr_conn *local;
	struct sr_grant_map op;
	struct sr_entry e;
	uint32_t v = 2;
	uint16_t id;

	assert_int_equal(sr_core_connection_create(f->m->core, f->dom0, 4, &id), 0);
	assert_int_equal(sr_core_connection_local(f->m->core, id, &local), 0);
	assert_int_equal(sr_entry_open(f->conn, b, f->via, 0, true, &e), GNTST_okay);
	assert_int_equal(sr_core_set_version(f->m->core, f->b, &v), -EBUSY);
	assert_int_equal(sr_core_swap_grant_ref(f->m->core, f->b, f->via, 20), GNTST_eagain);
	assert_int_equal(map_ref(local, f->b, f->via, 0, &op), GNTST_eagain);
	sr_entry_close(&e, e.pins);
	assert_int_equal(map_ref(local, f->b, f->via, 0, &op), GNTST_okay);
	assert_int_equal(sr_core_connection_dead(f->m->core, id), 0);
	disconnect(f->m, f->conn, f->id);
	close_fixture(f);
}

/* What a broken driver domain leaves in its own maptrack does not lead the machine astray. */
static void test_nonsense_in_the_maptrack(void **state)
{
	struct fixture *f = open_fixture(state, 1);

	for (uint32_t h = 0; h < 8; h++) {
		f->conn->track[h].granter = (uint16_t)(h * 9000);
		f->conn->track[h].ref = h % 2 ? UINT32_MAX : f->ref[0];
		atomic_store(&f->conn->track[h].mapped, 1);
	}
	f->conn->track[3].granter = f->a;
	f->conn->track[4].granter = f->a;
	atomic_store(&f->conn->header->used, UINT32_MAX);
	f->conn->header->capacity = 8;
	atomic_store(&f->conn->journal->lock[1].granter, 0x12345678);
	atomic_store(&f->conn->journal->lock[2].ref, UINT32_MAX);
	atomic_store(&f->conn->journal->lock[2].granter, f->a);
	assert_int_equal(sr_core_connection_dead(f->m->core, f->id), 0);
	check_clean(f);
	sr_conn_close(f->conn);
	close_fixture(f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, machine_setup, machine_teardown)
		T(test_every_instruction_v1),     T(test_every_instruction_v2),
		T(test_random_kills_v1),          T(test_random_kills_v2),
		T(test_dead_waits_for_dead),      T(test_locked_entry_and_the_machine),
		T(test_nonsense_in_the_maptrack),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
