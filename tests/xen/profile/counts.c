/* SPDX-License-Identifier: MIT */
/*
 * A plugin for QEMU: how often each emulated processor has executed each block of code. Nothing is
 * sampled, so a run by instruction count is known to the instruction.
 *
 *   -plugin counts.so,socket=PATH
 *
 * Whoever connects to PATH is sent the counts since the start, a struct record for each block, and
 * the end. Blocks are told apart by virtual address alone, so the reader wants each processor to
 * run domains that he can tell apart (tests/xen/lab/profile.py).
 *
 * QEMU's plugin interface needs no more than what is declared here.
 */
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define EXPORT     __attribute__((visibility("default")))
#define CPUS       4u
#define TABLE_BITS 20u

struct qemu_plugin_tb;

size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *tb);
uint64_t qemu_plugin_tb_vaddr(const struct qemu_plugin_tb *tb);
void qemu_plugin_register_vcpu_tb_trans_cb(uint64_t id,
					   void (*cb)(uint64_t id, struct qemu_plugin_tb *tb));
void qemu_plugin_register_vcpu_tb_exec_cb(struct qemu_plugin_tb *tb,
					  void (*cb)(unsigned cpu, void *data), int flags,
					  void *data);

/* What QEMU looks for. */
extern int qemu_plugin_version;
int qemu_plugin_install(uint64_t id, const void *info, int argc, char **argv);

EXPORT int qemu_plugin_version = 1;

/* As it is sent: the block's address, its instructions, and how often each processor ran it. */
struct record {
	uint64_t address, instructions, times[CPUS];
};

/* Blocks are translated again and again, and never forgotten: a counter stays where it is. */
struct block {
	struct block *next;
	struct record record;
};

static struct block *table[1u << TABLE_BITS];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static int listening;

static void executed(unsigned cpu, void *data)
{
	struct block *b = data;

	if (cpu < CPUS)
		b->record.times[cpu]++;
}

static struct block *find(uint64_t address, uint64_t instructions)
{
	uint64_t hash = (address ^ instructions << 40) * 0x9e3779b97f4a7c15u;
	struct block **at = &table[hash >> (64 - TABLE_BITS)], *b;

	pthread_mutex_lock(&lock);
	for (b = *at; b; b = b->next)
		if (b->record.address == address && b->record.instructions == instructions)
			break;
	if (!b)
		b = calloc(1, sizeof(*b));
	if (b && !b->record.instructions) {
		b->record.address = address;
		b->record.instructions = instructions;
		b->next = *at;
		*at = b;
	}
	pthread_mutex_unlock(&lock);
	return b;
}

static void translated(uint64_t id, struct qemu_plugin_tb *tb)
{
	struct block *b = find(qemu_plugin_tb_vaddr(tb), qemu_plugin_tb_n_insns(tb));

	if (b)
		qemu_plugin_register_vcpu_tb_exec_cb(tb, executed, 0, b);
}

/* Meanwhile the processors go on: the reader has to see to it that they do nothing of interest. */
static void tell(int fd)
{
	FILE *out = fdopen(fd, "w");

	if (!out) {
		close(fd);
		return;
	}
	pthread_mutex_lock(&lock);
	for (size_t i = 0; i < 1u << TABLE_BITS; i++)
		for (const struct block *b = table[i]; b; b = b->next)
			fwrite(&b->record, sizeof(b->record), 1, out);
	pthread_mutex_unlock(&lock);
	fclose(out);
}

static void *serve(void *arg)
{
	int fd;

	while ((fd = accept(listening, NULL, NULL)) >= 0)
		tell(fd);
	return NULL;
}

EXPORT int qemu_plugin_install(uint64_t id, const void *info, int argc, char **argv)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	pthread_t thread;

	if (argc != 1 || strncmp(argv[0], "socket=", 7) ||
	    strlen(argv[0] + 7) >= sizeof(address.sun_path))
		return -1;
	strcpy(address.sun_path, argv[0] + 7);
	listening = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (listening < 0 || bind(listening, (struct sockaddr *)&address, sizeof(address)) ||
	    listen(listening, 1) || pthread_create(&thread, NULL, serve, NULL))
		return -1;
	qemu_plugin_register_vcpu_tb_trans_cb(id, translated);
	return 0;
}
