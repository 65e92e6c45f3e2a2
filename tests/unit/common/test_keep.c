/* SPDX-License-Identifier: MIT */
/* Memory that outlives its process: every way of keeping it keeps the same contract. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include <common/keep.h>

static void put(int fd, const char *text)
{
	assert_int_equal(pwrite(fd, text, strlen(text) + 1, 0), (ssize_t)strlen(text) + 1);
}

static void check(int fd, const char *text)
{
	char have[64] = "";

	assert_true(pread(fd, have, sizeof(have), 0) > 0);
	assert_string_equal(have, text);
}

/* What holds for each of them. */
static void exercise(struct sr_keep *keep)
{
	bool created;
	size_t size;
	int fd, again;

	assert_int_equal(sr_keep_find(keep, "a", &fd, &size), -ENOENT);
	assert_int_equal(sr_keep_drop(keep, "a"), -ENOENT);
	assert_int_equal(sr_keep_get(keep, "a", 4096, &fd, &created), 0);
	assert_true(created);
	put(fd, "one");
	assert_int_equal(sr_keep_get(keep, "a", 4096, &again, &created), 0);
	assert_false(created);
	check(again, "one");
	/* Another size is another thing. */
	assert_int_equal(sr_keep_get(keep, "a", 8192, &again, &created), 0);
	assert_true(created);
	check(again, "");
	assert_int_equal(sr_keep_find(keep, "a", &fd, &size), 0);
	assert_int_equal(size, 8192);
	assert_int_equal(sr_keep_get(keep, "", 4096, &fd, &created), -EINVAL);
	assert_int_equal(sr_keep_get(keep, "a/b", 4096, &fd, &created), -EINVAL);
	assert_int_equal(
	    sr_keep_get(keep, "a-name-that-is-longer-than-sixty-three-bytes-as-one-can-see-here",
			4096, &fd, &created),
	    -EINVAL);
	assert_int_equal(sr_keep_drop(keep, "a"), 0);
	assert_int_equal(sr_keep_find(keep, "a", &fd, &size), -ENOENT);
}

static void test_private(void **state)
{
	struct sr_keep *keep;

	assert_int_equal(sr_keep_open_private(&keep), 0);
	assert_false(sr_keep_survives(keep));
	exercise(keep);
	sr_keep_close(keep);
	sr_keep_close(NULL);
}

/* --- keeper -------------------------------------------------------------------------------------
 */

static void *run_keeper(void *arg)
{
	struct sr_keeper *k = arg;
	int rc;

	do {
		struct pollfd fd = { .fd = sr_keeper_fd(k), .events = POLLIN };

		poll(&fd, 1, -1);
		rc = sr_keeper_process(k);
	} while (!rc);
	assert_int_equal(rc, -EPIPE);
	return NULL;
}

static struct sr_keep *connect_to(struct sr_keeper *k, pthread_t *thread)
{
	struct sr_keep *keep;
	int fd;

	assert_int_equal(sr_keeper_connect(k, &fd), 0);
	assert_int_equal(pthread_create(thread, NULL, run_keeper, k), 0);
	assert_int_equal(sr_keep_open_keeper(fd, &keep), 0);
	return keep;
}

static void drop(void *ctx, const char *name)
{
	struct sr_keep **keep = ctx;

	assert_int_equal(sr_keep_drop(*keep, name), 0);
}

static void test_keeper(void **state)
{
	struct sr_keeper *k;
	struct sr_keep *keep;
	pthread_t thread;
	bool created;
	size_t size;
	int fd;

	assert_int_equal(sr_keeper_new(&k), 0);
	assert_int_equal(sr_keeper_fd(k), -1);
	keep = connect_to(k, &thread);
	assert_true(sr_keep_survives(keep));
	exercise(keep);
	assert_int_equal(sr_keep_get(keep, "vbd-1-51712", 4096, &fd, &created), 0);
	put(fd, "first life");
	assert_int_equal(sr_keep_get(keep, "vbd-2-51712", 4096, &fd, &created), 0);
	/* The daemon goes, the next one finds what it left. */
	sr_keep_close(keep);
	pthread_join(thread, NULL);
	assert_int_equal(sr_keeper_count(k), 2);
	keep = connect_to(k, &thread);
	assert_int_equal(sr_keep_find(keep, "vbd-1-51712", &fd, &size), 0);
	assert_int_equal(size, 4096);
	check(fd, "first life");
	sr_keep_each(keep, drop, &keep);
	sr_keep_close(keep);
	pthread_join(thread, NULL);
	assert_int_equal(sr_keeper_count(k), 0);
	sr_keeper_free(k);
	sr_keeper_free(NULL);
}

/* Whatever a mad daemon sends, the keeper goes on for the next one. */
static void test_keeper_survives_nonsense(void **state)
{
	struct sr_keeper *k;
	struct sr_keep *keep;
	pthread_t thread;
	char junk[512];
	int fd;

	memset(junk, 0xff, sizeof(junk));
	assert_int_equal(sr_keeper_new(&k), 0);
	for (size_t len = 1; len < sizeof(junk); len += 7) {
		assert_int_equal(sr_keeper_connect(k, &fd), 0);
		assert_true(send(fd, junk, len, 0) > 0);
		assert_int_equal(sr_keeper_process(k), -EPIPE);
		close(fd);
	}
	keep = connect_to(k, &thread);
	exercise(keep);
	sr_keep_close(keep);
	pthread_join(thread, NULL);
	sr_keeper_free(k);
}

/* A keeper that is gone is an error, not a hang. */
static void test_no_keeper(void **state)
{
	struct sr_keep *keep;
	int pair[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair), 0);
	close(pair[1]);
	assert_int_equal(sr_keep_open_keeper(pair[0], &keep), -EPIPE);
	close(pair[0]);
	assert_int_equal(sr_keep_open_keeper(-1, &keep), -EBADF);
}

/* --- systemd ------------------------------------------------------------------------------------
 */

static int receive(int socket, char *text, size_t size)
{
	char control[CMSG_SPACE(sizeof(int))];
	struct iovec iov = { text, size - 1 };
	struct msghdr hdr = { .msg_iov = &iov,
			      .msg_iovlen = 1,
			      .msg_control = control,
			      .msg_controllen = sizeof(control) };
	ssize_t n = recvmsg(socket, &hdr, MSG_DONTWAIT);
	int fd = -1;

	assert_true(n > 0);
	text[n] = 0;
	if (CMSG_FIRSTHDR(&hdr))
		memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&hdr)), sizeof(fd));
	return fd;
}

static void test_systemd(void **state)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	char dir[] = "/tmp/sr-keep-XXXXXX", path[64], text[256];
	struct sr_keep *keep;
	bool created;
	int server, fd, kept;

	unsetenv("NOTIFY_SOCKET");
	assert_int_equal(sr_keep_open_systemd(&keep), -ENOENT);
	assert_non_null(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/notify", dir);
	server = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	strcpy(addr.sun_path, path);
	assert_int_equal(bind(server, (struct sockaddr *)&addr, sizeof(addr)), 0);
	setenv("NOTIFY_SOCKET", path, 1);
	assert_int_equal(sr_keep_open_systemd(&keep), 0);
	assert_null(getenv("NOTIFY_SOCKET"));
	assert_true(sr_keep_survives(keep));
	assert_int_equal(sr_keep_get(keep, "vbd-7-1", 4096, &fd, &created), 0);
	assert_true(created);
	kept = receive(server, text, sizeof(text));
	assert_string_equal(text, "FDSTORE=1\nFDNAME=splitring-vbd-7-1");
	put(fd, "kept");
	check(kept, "kept");
	assert_int_equal(sr_keep_drop(keep, "vbd-7-1"), 0);
	assert_int_equal(receive(server, text, sizeof(text)), -1);
	assert_string_equal(text, "FDSTOREREMOVE=1\nFDNAME=splitring-vbd-7-1");
	sr_keep_close(keep);
	close(kept);
	close(server);
	unlink(path);
	rmdir(dir);
}

/* What systemd passes to the next process: descriptors from 3 on, and their names. */
static int adopt_in_child(const char *path, int socket, int ours)
{
	struct sr_keep *keep;
	size_t size;
	char pid[16];
	int fd;

	/* Out of the way of what is going to be 3 and 4. */
	ours = fcntl(ours, F_DUPFD, 10);
	socket = fcntl(socket, F_DUPFD, 10);
	if (dup2(socket, 3) != 3 || dup2(ours, 4) != 4)
		return 1;
	snprintf(pid, sizeof(pid), "%d", getpid());
	setenv("NOTIFY_SOCKET", path, 1);
	setenv("LISTEN_PID", pid, 1);
	setenv("LISTEN_FDS", "2", 1);
	setenv("LISTEN_FDNAMES", "a-socket:splitring-vbd-7-1", 1);
	if (sr_keep_open_systemd(&keep))
		return 2;
	if (sr_keep_find(keep, "vbd-7-1", &fd, &size) || fd != 4 || size != 4096)
		return 3;
	if (getenv("LISTEN_FDS") || !sr_keep_find(keep, "a-socket", &fd, &size))
		return 4;
	sr_keep_close(keep);
	/* What is not ours is still open. */
	return fcntl(3, F_GETFD) < 0 ? 5 : 0;
}

static void test_systemd_adopts(void **state)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	char dir[] = "/tmp/sr-keep-XXXXXX", path[64];
	int server, ours, status;
	pid_t pid;

	assert_non_null(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/notify", dir);
	server = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	strcpy(addr.sun_path, path);
	assert_int_equal(bind(server, (struct sockaddr *)&addr, sizeof(addr)), 0);
	ours = memfd_create("kept", MFD_CLOEXEC);
	assert_int_equal(ftruncate(ours, 4096), 0);
	pid = fork();
	if (pid == 0)
		_exit(adopt_in_child(path, server, ours));
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
	close(ours);
	close(server);
	unlink(path);
	rmdir(dir);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_private),
		cmocka_unit_test(test_keeper),
		cmocka_unit_test(test_keeper_survives_nonsense),
		cmocka_unit_test(test_no_keeper),
		cmocka_unit_test(test_systemd),
		cmocka_unit_test(test_systemd_adopts),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
