/* SPDX-License-Identifier: MIT */
#include "server.h"

#include <blk/blkback.h>
#include <dirent.h>
#include <drivers/registry.h>
#include <hypervisor.h>
#include <malloc.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define SERVER_FD   9
#define SERVER_WORD "scale-server"

extern char **environ;

/* Only there under a sanitizer, where mallinfo2() knows nothing. */
size_t __sanitizer_get_current_allocated_bytes(void) __attribute__((weak));

/* --- what is counted, in the server itself ------------------------------------------------------
 */

/* Memory of guests, and what the machine shares with us for each guest and not for each vbd. */
static bool is_of_guests(const char *name)
{
	return strstr(name, "/memfd:") && !strstr(name, "/memfd:vbd-") &&
	       !strstr(name, "/memfd:splitring-line");
}

static bool is_laid_out(const char *name)
{
	return __sanitizer_get_current_allocated_bytes &&
	       (!*name || *name == '[' || strchr(name, '.'));
}

/*
 * Pages of the kernel's rings are no part of what the kernel counts as resident, so these count
 * with their size; all else with its share of what is resident.
 */
static uint64_t mapped_memory(uint64_t *guest_memory)
{
	FILE *file = fopen("/proc/self/smaps", "re");
	char line[512], name[256] = "", key[32];
	unsigned long long value, sum = 0;
	bool counts = false, kernel = false, guests = false;

	*guest_memory = 0;

	while (file && fgets(line, sizeof(line), file)) {
		if (sscanf(line, "%31[A-Za-z_]: %llu kB", key, &value) == 2) {
			if (counts && !strcmp(key, kernel ? "Size" : "Pss"))
				sum += value;
			if (guests && !strcmp(key, "Rss"))
				*guest_memory += value * 1024;
		} else {
			name[0] = 0;
			sscanf(line, "%*x-%*x %*s %*x %*s %*d %255[^\n]", name);
			guests = is_of_guests(name);
			counts = !guests && !is_laid_out(name);
			kernel = strstr(name, "[io_uring]") || strstr(name, "[aio]");
		}
	}
	if (file)
		fclose(file);
	return sum * 1024;
}

static uint64_t allocated_memory(void)
{
	return __sanitizer_get_current_allocated_bytes ? __sanitizer_get_current_allocated_bytes()
						       : 0;
}

static uint64_t count_fds(void)
{
	DIR *dir = opendir("/proc/self/fd");
	uint64_t n = 0;

	while (dir && readdir(dir))
		n++;
	if (dir)
		closedir(dir);
	return n - 3; /* ".", ".." and the directory itself */
}

static void look(struct sr_blkback *bb, struct server_look *l)
{
	struct sr_blkback_thread threads[SERVER_THREADS];
	struct sr_blkback_device *devices = NULL;
	struct rlimit limit = { 0 };
	size_t vbds = 0, n = sr_blkback_threads(bb, threads, SERVER_THREADS);

	*l = (struct server_look){ .fds = count_fds() };
	malloc_trim(0);
	l->memory = mapped_memory(&l->guest_memory) + allocated_memory();
	getrlimit(RLIMIT_NOFILE, &limit);
	l->fd_limit = limit.rlim_cur;
	for (size_t i = 0; i < n; i++) {
		l->loops += threads[i].loops;
		l->sleeps += threads[i].sleeps;
	}
	sr_blkback_list(bb, &devices, &vbds);
	l->vbds = vbds;
	free(devices);
}

/* --- the server's process -----------------------------------------------------------------------
 */

static struct sr_blkback *backend;

static void on_term(int signal)
{
	sr_blkback_stop(backend, SR_BLKBACK_CLOSE);
}

static void *answer(void *arg)
{
	struct server_look l;
	char byte;

	while (read(SERVER_FD, &byte, 1) == 1) {
		look(backend, &l);
		if (write(SERVER_FD, &l, sizeof(l)) != sizeof(l))
			break;
	}
	return NULL;
}

static int serve(const char *address)
{
	struct sr_log log = { .fd = STDERR_FILENO,
			      .level = getenv("SR_TEST_LOG") ? SR_LOG_INFO : SR_LOG_ERROR };
	struct sr_blkback_options options = { .log = &log, .threads = SERVER_THREADS };
	struct sr_hypervisor *hv;
	pthread_t thread;
	int rc;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (sr_blk_registry_new(&options.registry) || sr_hv_open(address, &hv) ||
	    sr_blkback_new(hv, &options, &backend))
		return 1;
	signal(SIGTERM, on_term);
	if (pthread_create(&thread, NULL, answer, NULL))
		return 1;
	rc = sr_blkback_run(backend);
	shutdown(SERVER_FD, SHUT_RDWR);
	pthread_join(thread, NULL);
	sr_blkback_free(backend);
	sr_hv_close(hv);
	sr_blk_registry_free(options.registry);
	return rc ? 1 : 0;
}

bool server_main(int argc, char **argv, int *status)
{
	if (argc != 3 || strcmp(argv[1], SERVER_WORD) != 0)
		return false;
	*status = serve(argv[2]);
	return true;
}

/* --- the test's process -------------------------------------------------------------------------
 */

void server_start(struct server *s, const char *address)
{
	char *argv[] = { (char *)"/proc/self/exe", (char *)SERVER_WORD, (char *)address, NULL };
	posix_spawn_file_actions_t actions;
	int pair[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_adddup2(&actions, pair[1], SERVER_FD);
	assert_int_equal(posix_spawn(&s->pid, argv[0], &actions, NULL, argv, environ), 0);
	posix_spawn_file_actions_destroy(&actions);
	close(pair[1]);
	s->socket = pair[0];
}

void server_look(struct server *s, struct server_look *l)
{
	assert_int_equal(write(s->socket, "?", 1), 1);
	assert_int_equal(recv(s->socket, l, sizeof(*l), MSG_WAITALL), sizeof(*l));
}

void server_stop(struct server *s)
{
	int status;

	kill(s->pid, SIGTERM);
	assert_int_equal(waitpid(s->pid, &status, 0), s->pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
	close(s->socket);
}
