/* SPDX-License-Identifier: MIT */
#include "daemon.h"

#include <common/keep.h>

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/*
 * A worker that crashes at once would crash again at once: each such death doubles the pause before
 * the next start. One that was killed (SIGKILL) is no bug of ours and is replaced without delay.
 */
#define QUICK_MS      1000
#define FIRST_PAUSE   100
#define LONGEST_PAUSE 10000

struct supervisor {
	struct daemon *d;
	struct sr_keeper *keeper;
	int signals;
	int ready; /* the worker's pipe, -1 once it has said so */
	pid_t worker;
	int64_t started; /* ms */
	unsigned pause_ms;
	bool served;    /* some worker has been ready */
	bool stopping;  /* SIGTERM was passed on */
	bool upgrading; /* the worker leaves its devices to one of the program that we are to become
			 */
};

static int64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

/* In the child: nothing of the supervisor's may stay open, or its end would go unnoticed. */
static int become_worker(struct supervisor *s, int keep_fd, int ready_fd)
{
	sr_keeper_free(s->keeper);
	close(s->signals);
	/* The worker outlives its supervisor, but has to know that nobody would bring it back. */
	prctl(PR_SET_PDEATHSIG, SIGUSR1);
	if (getppid() != s->d->supervisor)
		raise(SIGUSR1);
	return worker_run(s->d, keep_fd, ready_fd);
}

/* Returns in the child too, then with *child set and its exit status. */
static int start_worker(struct supervisor *s, bool *child)
{
	int keep_fd = -1, pipe_fds[2], ret;

	*child = false;
	if (pipe2(pipe_fds, O_CLOEXEC))
		return -errno;
	ret = sr_keeper_connect(s->keeper, &keep_fd);
	if (ret)
		goto fail;
	s->worker = fork();
	if (s->worker < 0) {
		ret = -errno;
		close(keep_fd);
		goto fail;
	}
	if (!s->worker) {
		close(pipe_fds[0]);
		*child = true;
		return become_worker(s, keep_fd, pipe_fds[1]);
	}
	close(keep_fd);
	close(pipe_fds[1]);
	s->ready = pipe_fds[0];
	s->started = now_ms();
	return 0;
fail:
	close(pipe_fds[0]);
	close(pipe_fds[1]);
	return ret;
}

static void on_ready(struct supervisor *s)
{
	char byte;

	if (read(s->ready, &byte, 1) == 1) {
		daemon_write_pidfile(s->d, s->worker);
		if (!s->served)
			daemon_notify("READY=1");
		s->served = true;
	}
	close(s->ready);
	s->ready = -1;
}

static void on_signal(struct supervisor *s)
{
	struct signalfd_siginfo info;
	struct sr_fail f;

	if (read(s->signals, &info, sizeof(info)) != sizeof(info) || info.ssi_signo == SIGCHLD)
		return;
	if (info.ssi_signo == SIGHUP && daemon_open_log(s->d, &f))
		sr_log(&s->d->src, SR_LOG_ERROR, "%s", f.line);
	if (info.ssi_signo == SIGUSR2)
		s->upgrading = true;
	else if (info.ssi_signo != SIGHUP)
		s->stopping = true;
	/* A terminal has sent it to the worker as well. */
	if (s->worker > 0 && info.ssi_code != SI_KERNEL)
		kill(s->worker, (int)info.ssi_signo);
}

/* True when the worker has ended. */
static bool reap(struct supervisor *s, int *wait_status)
{
	return waitpid(s->worker, wait_status, WNOHANG) == s->worker;
}

/* Serves signals and the keeper until the worker has ended, or for `timeout_ms` where none runs. */
static void wait_for_worker(struct supervisor *s, int timeout_ms, int *wait_status)
{
	int64_t deadline = now_ms() + timeout_ms;

	for (;;) {
		struct pollfd fds[] = {
			{ .fd = s->signals, .events = POLLIN },
			{ .fd = sr_keeper_fd(s->keeper), .events = POLLIN },
			{ .fd = s->ready, .events = POLLIN },
		};
		int64_t left = deadline - now_ms();

		if (!s->worker && (left <= 0 || s->stopping))
			return;
		if (poll(fds, 3, s->worker ? -1 : (int)left) < 0 && errno != EINTR)
			return;
		/* What the worker said before it died comes before its death. */
		if (fds[1].revents)
			sr_keeper_process(s->keeper);
		if (fds[2].revents)
			on_ready(s);
		if (fds[0].revents)
			on_signal(s);
		if (s->worker && reap(s, wait_status)) {
			/* It may have spoken between the poll and its death. */
			if (sr_keeper_fd(s->keeper) >= 0)
				sr_keeper_process(s->keeper);
			if (s->ready >= 0)
				on_ready(s);
			s->worker = 0;
			return;
		}
	}
}

/* Returns where it can't be: then a worker of this program goes on. */
static void upgrade(struct supervisor *s)
{
	int list = -1, ret = sr_keeper_save(s->keeper, &list);

	s->upgrading = false;
	if (!ret) {
		ret = daemon_become_program(s->d, list);
		close(list);
	}
	sr_log(&s->d->src, SR_LOG_ERROR, "%s: can't become it: %s; going on as before",
	       s->d->program, strerror(-ret));
}

/* Whether another worker is to be started, after s->pause_ms. */
static bool wants_another(struct supervisor *s, int wait_status, int *exit_status)
{
	bool quick = now_ms() - s->started < QUICK_MS;
	bool killed = WIFSIGNALED(wait_status) && WTERMSIG(wait_status) == SIGKILL;

	*exit_status = WIFEXITED(wait_status) ? WEXITSTATUS(wait_status) : EXIT_FAILED;
	if (*exit_status == EXIT_DRAINED || *exit_status == EXIT_GONE || s->stopping || !s->served)
		return false;
	if (killed || !quick)
		s->pause_ms = 0;
	else
		s->pause_ms = s->pause_ms ? s->pause_ms * 2 : FIRST_PAUSE;
	if (s->pause_ms > LONGEST_PAUSE)
		s->pause_ms = LONGEST_PAUSE;
	if (WIFSIGNALED(wait_status))
		sr_log(&s->d->src, SR_LOG_ERROR,
		       "the worker was ended by signal %d (%s); %zu "
		       "records are kept, starting another in %u ms",
		       WTERMSIG(wait_status), strsignal(WTERMSIG(wait_status)),
		       sr_keeper_count(s->keeper), s->pause_ms);
	else
		sr_log(&s->d->src, SR_LOG_ERROR,
		       "the worker ended with status %d; %zu records are "
		       "kept, starting another in %u ms",
		       *exit_status, sr_keeper_count(s->keeper), s->pause_ms);
	return true;
}

static int keep_running(struct supervisor *s, bool *child)
{
	int wait_status = 0, status, ret;

	for (;;) {
		ret = start_worker(s, child);
		if (*child)
			return ret;
		if (ret) {
			sr_log(&s->d->src, SR_LOG_ERROR, "can't start a worker: %s; free memory",
			       strerror(-ret));
			return EXIT_FAILED;
		}
		wait_for_worker(s, 0, &wait_status);
		if (s->upgrading && !s->stopping) {
			upgrade(s);
			continue;
		}
		if (!wants_another(s, wait_status, &status))
			return status;
		wait_for_worker(s, (int)s->pause_ms, &wait_status);
		if (s->stopping)
			return EXIT_DRAINED;
	}
}

int supervisor_run(struct daemon *d)
{
	struct supervisor s = { .d = d, .signals = -1, .ready = -1, .served = d->kept_fd >= 0 };
	int status = EXIT_FAILED;
	bool child = false;
	sigset_t mask, worker_mask;

	/* For the worker, which must not die of it before it has its own handling. */
	sigemptyset(&worker_mask);
	sigaddset(&worker_mask, SIGUSR1);
	sigprocmask(SIG_BLOCK, &worker_mask, NULL);
	sigemptyset(&mask);
	sigaddset(&mask, SIGTERM);
	sigaddset(&mask, SIGINT);
	sigaddset(&mask, SIGHUP);
	sigaddset(&mask, SIGUSR2);
	sigaddset(&mask, SIGCHLD);
	sigprocmask(SIG_BLOCK, &mask, NULL);
	s.signals = signalfd(-1, &mask, SFD_CLOEXEC | SFD_NONBLOCK);
	if (s.signals < 0 || (d->kept_fd >= 0 ? sr_keeper_restore(d->kept_fd, &s.keeper)
					      : sr_keeper_new(&s.keeper))) {
		sr_log(&d->src, SR_LOG_ERROR, "can't set up the supervisor: %m; free memory");
		goto out;
	}
	d->supervisor = getpid();
	status = keep_running(&s, &child);
	if (child)
		return status; /* become_worker() has closed what is closed below */
	/* What a worker tells its supervisor is not for the world. */
	if (status == EXIT_GONE)
		status = EXIT_FAILED;
	daemon_remove_pidfile(d);
	sr_keeper_free(s.keeper);
out:
	if (s.signals >= 0)
		close(s.signals);
	return status;
}
