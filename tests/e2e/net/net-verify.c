/* SPDX-License-Identifier: MIT */
/*
 * Traffic whose every byte is checked, between two machines:
 *
 *   net-verify serve [PORT]
 *   net-verify run ADDRESS [PORT] [SECONDS] [SEED]
 *
 * TCP: both directions at once. Each writes pieces of 1 to 65536 bytes from odd places of a buffer,
 * every other one with MSG_ZEROCOPY, so that frames consist of fragments at any offset, and checks
 * what it reads against the stream that the other side must have sent.
 * UDP: datagrams of 0 to 9000 bytes to and fro, one at a time: they may be lost, which is counted,
 * but not changed.
 *
 * Exit status: 0 all was right; 1 not, with a line that says where; 2 bad usage.
 */
#include <errno.h>
#include <netdb.h>
#include <poll.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define DEFAULT_PORT    "5300"
#define DEFAULT_SECONDS 5.0
#define PIECE           65536u
#define DATAGRAM        9000u

static void __attribute__((noreturn)) die(const char *what)
{
	fprintf(stderr, "net-verify: %s: %s\n", what, strerror(errno));
	exit(1);
}

static void __attribute__((noreturn)) wrong(const char *what, uint64_t where)
{
	printf("WRONG: %s at byte %llu\n", what, (unsigned long long)where);
	exit(1);
}

/* Eight bytes of a stream, from its seed and the place: so any part of it can be made anew. */
static uint64_t word(uint64_t seed, uint64_t index)
{
	uint64_t x = seed + (index + 1) * 0x9e3779b97f4a7c15u;

	x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
	x = (x ^ x >> 27) * 0x94d049bb133111ebu;
	return x ^ x >> 31;
}

/* Makes a part of a stream. */
static void fill(uint8_t *p, size_t len, uint64_t seed, uint64_t at)
{
	uint64_t w = word(seed, at / 8);

	for (size_t i = 0; i < len; i++, at++) {
		if (at % 8 == 0)
			w = word(seed, at / 8);
		p[i] = (uint8_t)(w >> at % 8 * 8);
	}
}

static void check(const uint8_t *p, size_t len, uint64_t seed, uint64_t at, const char *what)
{
	static uint8_t right[PIECE];

	fill(right, len, seed, at);
	for (size_t i = 0; i < len; i++)
		if (p[i] != right[i])
			wrong(what, at + i);
}

static double now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

/* --- TCP ----------------------------------------------------------------------------------------
 */

struct stream {
	int fd;
	uint64_t seed, bytes;
	double until;
};

/* Zero-copy sends say when they are done: till then their buffer stays as it is. */
static void wait_zerocopy(int fd, uint32_t *done, uint32_t sent)
{
	while ((int32_t)(sent - *done) > 0) {
		struct pollfd p = { .fd = fd };
		char control[128];
		struct msghdr msg = { .msg_control = control, .msg_controllen = sizeof(control) };

		poll(&p, 1, 1000);
		if (recvmsg(fd, &msg, MSG_ERRQUEUE) < 0) {
			if (errno != EAGAIN)
				die("MSG_ERRQUEUE");
			continue;
		}
		for (struct cmsghdr *c = CMSG_FIRSTHDR(&msg); c; c = CMSG_NXTHDR(&msg, c)) {
			/* struct sock_extended_err: ee_data, its last word but none, is the
			 * highest. */
			uint32_t err[4];

			memcpy(err, CMSG_DATA(c), sizeof(err));
			*done = err[3] + 1;
		}
	}
}

/* Zero-copy sends in flight: each piece has a buffer, which waits for its own send when it is used
 * again. */
#define BUFFERS 8u

static void *write_stream(void *arg)
{
	struct stream *s = arg;
	static uint8_t buffers[BUFFERS][2 * PIECE];
	uint32_t zerocopied = 0, done = 0, sent[BUFFERS] = { 0 };
	int one = 1;
	bool can = !setsockopt(s->fd, SOL_SOCKET, SO_ZEROCOPY, &one, sizeof(one));

	for (uint64_t n = 0; now() < s->until; n++) {
		uint64_t dice = word(~s->seed, n);
		size_t len = n % 16 == 0 ? PIECE : 1 + (dice >> 32) % (n % 3 ? PIECE : 200);
		uint8_t *p = buffers[n % BUFFERS] + dice % PIECE;
		bool zero = can && n % 2;

		wait_zerocopy(s->fd, &done, sent[n % BUFFERS]);
		fill(p, len, s->seed, s->bytes);
		for (size_t off = 0; off < len;) {
			ssize_t got = send(s->fd, p + off, len - off,
					   MSG_NOSIGNAL | (zero ? MSG_ZEROCOPY : 0));

			if (got < 0 && errno == ENOBUFS && zero) {
				wait_zerocopy(s->fd, &done, zerocopied);
				zero = false;
				continue;
			}
			if (got < 0)
				die("send");
			zerocopied += zero;
			off += (size_t)got;
		}
		sent[n % BUFFERS] = zerocopied;
		s->bytes += len;
	}
	wait_zerocopy(s->fd, &done, zerocopied);
	shutdown(s->fd, SHUT_WR);
	return NULL;
}

static void read_stream(struct stream *s)
{
	static uint8_t buffer[PIECE];
	ssize_t got;

	while ((got = read(s->fd, buffer, sizeof(buffer))) > 0) {
		check(buffer, (size_t)got, s->seed, s->bytes, "TCP");
		s->bytes += (uint64_t)got;
	}
	if (got < 0)
		die("read");
}

/* Both directions; the seeds are told in the first 16 bytes, the other side's first. */
static void tcp(int fd, uint64_t seed, double seconds, bool first)
{
	struct stream out = { .fd = fd, .seed = seed, .until = now() + seconds };
	struct stream in = { .fd = fd };
	uint64_t told[2] = { seed, (uint64_t)(seconds * 1e3) }, theirs[2];
	pthread_t thread;

	if (first && send(fd, told, sizeof(told), MSG_NOSIGNAL) != sizeof(told))
		die("send");
	if (recv(fd, theirs, sizeof(theirs), MSG_WAITALL) != sizeof(theirs))
		die("recv");
	if (!first) {
		told[0] = out.seed = theirs[0] + 1;
		out.until = now() + (double)theirs[1] / 1e3;
		if (send(fd, told, sizeof(told), MSG_NOSIGNAL) != sizeof(told))
			die("send");
	}
	in.seed = theirs[0];
	if (pthread_create(&thread, NULL, write_stream, &out))
		die("pthread_create");
	read_stream(&in);
	pthread_join(thread, NULL);
	printf("TCP: %llu bytes sent, %llu received and right\n", (unsigned long long)out.bytes,
	       (unsigned long long)in.bytes);
}

/* --- UDP ----------------------------------------------------------------------------------------
 */

/* Sends back what comes, until a datagram of one byte. */
static void udp_echo(int fd)
{
	uint8_t buffer[DATAGRAM];
	struct sockaddr_storage from;

	for (;;) {
		socklen_t size = sizeof(from);
		ssize_t len =
		    recvfrom(fd, buffer, sizeof(buffer), 0, (struct sockaddr *)&from, &size);

		if (len == 1)
			return;
		if (len >= 0)
			sendto(fd, buffer, (size_t)len, 0, (struct sockaddr *)&from, size);
	}
}

static void udp_ask(int fd, uint64_t seed, double seconds)
{
	uint8_t out[DATAGRAM], in[DATAGRAM];
	unsigned long long answered = 0, lost = 0;
	double until = now() + seconds;

	for (uint64_t n = 0; now() < until; n++) {
		size_t len = 8 + word(seed, n) % (DATAGRAM - 8);
		struct pollfd p = { .fd = fd, .events = POLLIN };
		ssize_t got;

		/* Not the length that ends it. */
		fill(out, len, seed, n * DATAGRAM);
		memcpy(out, &n, sizeof(n));
		send(fd, out, len, 0);
		do {
			if (poll(&p, 1, 500) <= 0) {
				lost++;
				break;
			}
			got = recv(fd, in, sizeof(in), 0);
			if (got < (ssize_t)sizeof(n))
				wrong("UDP: too short an answer", n);
			if (memcmp(in, &n, sizeof(n)))
				continue; /* of one that was given up */
			if ((size_t)got != len || memcmp(in, out, len))
				wrong("UDP: a datagram was changed", n);
			answered++;
		} while (memcmp(in, &n, sizeof(n)));
	}
	for (int i = 0; i < 3; i++)
		send(fd, "", 1, 0);
	printf("UDP: %llu datagrams back and right, %llu lost\n", answered, lost);
	if (!answered)
		exit(1);
}

/* --- sockets ------------------------------------------------------------------------------------
 */

static int open_socket(const char *address, const char *port, int type)
{
	struct addrinfo hints = { .ai_socktype = type, .ai_flags = address ? 0 : AI_PASSIVE };
	struct addrinfo *found;
	int fd, one = 1;

	hints.ai_family = address ? AF_UNSPEC : AF_INET6;
	if (getaddrinfo(address, port, &hints, &found))
		die(address ? address : "getaddrinfo");
	fd = socket(found->ai_family, type, 0);
	if (fd < 0)
		die("socket");
	if (!address) {
		setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
		if (bind(fd, found->ai_addr, found->ai_addrlen))
			die("bind");
	} else if (connect(fd, found->ai_addr, found->ai_addrlen)) {
		die("connect");
	}
	freeaddrinfo(found);
	return fd;
}

static int serve(const char *port)
{
	int udp = open_socket(NULL, port, SOCK_DGRAM);
	int listener = open_socket(NULL, port, SOCK_STREAM), fd;

	if (listen(listener, 1))
		die("listen");
	printf("ready\n");
	fflush(stdout);
	fd = accept(listener, NULL, NULL);
	if (fd < 0)
		die("accept");
	tcp(fd, 0, 0, false);
	close(fd);
	udp_echo(udp);
	return 0;
}

static int run(const char *address, const char *port, double seconds, uint64_t seed)
{
	int udp = open_socket(address, port, SOCK_DGRAM);
	int fd = open_socket(address, port, SOCK_STREAM);

	tcp(fd, seed, seconds, true);
	close(fd);
	udp_ask(udp, seed, seconds / 2);
	return 0;
}

int main(int argc, char **argv)
{
	const char *port;

	setvbuf(stdout, NULL, _IOLBF, 0);
	if (argc >= 2 && argc <= 3 && !strcmp(argv[1], "serve"))
		return serve(argc > 2 ? argv[2] : DEFAULT_PORT);
	if (argc >= 3 && argc <= 6 && !strcmp(argv[1], "run")) {
		port = argc > 3 ? argv[3] : DEFAULT_PORT;
		return run(argv[2], port, argc > 4 ? atof(argv[4]) : DEFAULT_SECONDS,
			   argc > 5 ? strtoull(argv[5], NULL, 0) : (uint64_t)time(NULL));
	}
	fprintf(
	    stderr,
	    "usage: net-verify serve [PORT] | net-verify run ADDRESS [PORT [SECONDS [SEED]]]\n");
	return 2;
}
