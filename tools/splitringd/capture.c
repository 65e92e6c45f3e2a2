/* SPDX-License-Identifier: MIT */
#include "capture.h"

#include "json_put.h"
#include "net.h"

#include <common/log.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define DEFAULT_SNAPLEN 262144

static struct capture *free_place(struct captures *c)
{
	for (unsigned i = 0; i < CAPTURES_MAX; i++)
		if (!c->list[i].capture)
			return &c->list[i];
	return NULL;
}

/* Sends the answer, with the memory's descriptor if there is one. */
static void answer(int fd, int memory, struct json_object *out)
{
	const char *text = json_object_to_json_string_ext(out, JSON_C_TO_STRING_PLAIN);
	union {
		struct cmsghdr head;
		char space[CMSG_SPACE(sizeof(int))];
	} control = { 0 };
	struct iovec iov[] = {
		{ .iov_base = (void *)(uintptr_t)text, .iov_len = strlen(text) },
		{ .iov_base = (char[]){ '\n' }, .iov_len = 1 },
	};
	struct msghdr msg = { .msg_iov = iov, .msg_iovlen = 2 };

	if (memory >= 0) {
		struct cmsghdr *head = &control.head;

		msg.msg_control = control.space;
		msg.msg_controllen = sizeof(control.space);
		head->cmsg_level = SOL_SOCKET;
		head->cmsg_type = SCM_RIGHTS;
		head->cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(head), &memory, sizeof(int));
	}
	/* A client that does not take it has hung up, or soon will. */
	(void)sendmsg(fd, &msg, MSG_NOSIGNAL);
}

/* -1: it is not there; -2: it makes no sense. */
static int64_t number(struct json_object *in, const char *key, int64_t max)
{
	struct json_object *v;
	int64_t n;

	if (!json_object_object_get_ex(in, key, &v))
		return -1;
	n = json_object_get_int64(v);
	return json_object_is_type(v, json_type_int) && n >= 0 && n <= max ? n : -2;
}

static const char *begin(struct captures *c, struct capture *place, struct json_object *in,
			 int *memory)
{
	int64_t snaplen = number(in, "snaplen", DEFAULT_SNAPLEN);
	int64_t domid = number(in, "domid", UINT16_MAX), devid = number(in, "devid", UINT32_MAX);
	int ret;

	if (!c->net)
		return "this splitringd serves no NICs";
	if (snaplen == -2 || !snaplen || domid == -2 || devid == -2)
		return "domid, devid or snaplen makes no sense";
	if (!place)
		return "too many captures run already";
	ret =
	    net_capture(c->net, domid, devid, (uint32_t)(snaplen == -1 ? DEFAULT_SNAPLEN : snaplen),
			&place->capture, memory);
	return ret ? strerror(-ret) : NULL;
}

bool captures_take(struct captures *c, int fd, const char *line, bool *answered)
{
	struct json_object *in = json_tokener_parse(line), *out, *cmd;
	struct capture *place = free_place(c);
	const char *error;
	int memory = -1;

	*answered = in && json_object_object_get_ex(in, "cmd", &cmd) &&
		    !strcmp(json_object_get_string(cmd), "capture");
	if (!*answered) {
		json_object_put(in);
		return false;
	}
	out = json_object_new_object();
	error = begin(c, place, in, &memory);
	put_bool(out, "ok", !error);
	if (error)
		put_string(out, "error", error);
	else
		net_add_drop_names(out);
	answer(fd, memory, out);
	json_object_put(out);
	json_object_put(in);
	if (memory >= 0)
		close(memory);
	if (error)
		return false;
	place->fd = fd;
	sr_log(c->log, SR_LOG_INFO, "a capture begins");
	return true;
}

void captures_poll(const struct captures *c, struct pollfd *fds)
{
	for (unsigned i = 0; i < CAPTURES_MAX; i++)
		fds[i] = (struct pollfd){
			.fd = c->list[i].capture ? c->list[i].fd : -1,
			.events = POLLIN,
		};
}

static void end(struct captures *c, struct capture *place)
{
	net_capture_end(place->capture);
	close(place->fd);
	*place = (struct capture){ 0 };
	sr_log(c->log, SR_LOG_INFO, "a capture ends");
}

/* A client says nothing more: whatever comes is its end. */
void captures_look(struct captures *c, const struct pollfd *fds)
{
	for (unsigned i = 0; i < CAPTURES_MAX; i++)
		if (c->list[i].capture && fds[i].revents)
			end(c, &c->list[i]);
}

void captures_end(struct captures *c)
{
	for (unsigned i = 0; i < CAPTURES_MAX; i++)
		if (c->list[i].capture)
			end(c, &c->list[i]);
}
