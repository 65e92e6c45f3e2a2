/* SPDX-License-Identifier: MIT */
/*
 * The two costs that explain most differences between machines, and between one run and the next
 * on a machine that moves our cores about: a system call, and the round trip of a cache line
 * between two CPUs. Prints them as JSON; `bench/blk` shows them beside every table.
 *
 *     calibrate CPU_A CPU_B
 */
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define ROUNDS   5
#define SYSCALLS 200000
#define TRIPS    200000

struct line {
	_Alignas(128) atomic_uint_fast32_t turn;
};

static struct line ball;
static int cpus[2];

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static int pin(int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	return pthread_setaffinity_np(pthread_self(), sizeof(set), &set);
}

/* The other side of the ball game: answers each odd turn with an even one. */
static void *return_ball(void *arg)
{
	pin(cpus[1]);
	for (uint32_t i = 0; i < TRIPS; i++) {
		while (atomic_load_explicit(&ball.turn, memory_order_acquire) != 2 * i + 1)
			;
		atomic_store_explicit(&ball.turn, 2 * i + 2, memory_order_release);
	}
	return NULL;
}

static double round_trip_ns(void)
{
	pthread_t thread;
	uint64_t start;

	atomic_store(&ball.turn, 0);
	if (pthread_create(&thread, NULL, return_ball, NULL))
		return -1;
	start = now_ns();
	for (uint32_t i = 0; i < TRIPS; i++) {
		atomic_store_explicit(&ball.turn, 2 * i + 1, memory_order_release);
		while (atomic_load_explicit(&ball.turn, memory_order_acquire) != 2 * i + 2)
			;
	}
	start = now_ns() - start;
	pthread_join(thread, NULL);
	return (double)start / TRIPS;
}

static double syscall_ns(void)
{
	uint64_t start = now_ns();

	for (int i = 0; i < SYSCALLS; i++)
		syscall(SYS_getppid);
	return (double)(now_ns() - start) / SYSCALLS;
}

static int parse_cpu(const char *text, int *cpu)
{
	char *end;
	long value;

	errno = 0;
	value = strtol(text, &end, 10);
	if (errno || end == text || *end || value < 0 || value >= CPU_SETSIZE)
		return -EINVAL;
	*cpu = (int)value;
	return 0;
}

int main(int argc, char **argv)
{
	double syscall_best = 1e9, trip_best = 1e9;

	if (argc != 3 || parse_cpu(argv[1], &cpus[0]) || parse_cpu(argv[2], &cpus[1]) ||
	    cpus[0] == cpus[1]) {
		fprintf(stderr, "usage: calibrate CPU_A CPU_B: two different CPUs, from 0\n");
		return 2;
	}
	if (pin(cpus[0])) {
		fprintf(stderr, "calibrate: CPU %d is not ours to run on\n", cpus[0]);
		return 1;
	}
	for (int i = 0; i < ROUNDS; i++) {
		double s = syscall_ns(), t = round_trip_ns();

		if (s < syscall_best)
			syscall_best = s;
		if (t >= 0 && t < trip_best)
			trip_best = t;
	}
	printf("{\"syscall_ns\": %.0f, \"line_round_trip_ns\": %.0f}\n", syscall_best, trip_best);
	return 0;
}
