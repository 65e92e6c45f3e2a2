/* SPDX-License-Identifier: MIT */
#include "capture.h"

#include "cli.h"
#include "machines.h"

#include <errno.h>
#include <json.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* The rings lie one after the other, each as long as it says. */
static int find_rings(struct session *s)
{
	size_t at = 0;

	while (at < s->bytes && s->ring_count < CAPTURE_MAX_RINGS) {
		struct sr_capture_reader *r = &s->rings[s->ring_count++];
		int ret = sr_capture_reader_init(r, s->memory + at, s->bytes - at);

		if (ret)
			return ret;
		at += r->ring->total;
	}
	return s->ring_count ? 0 : -EPROTO;
}

int capture_open(struct session *s, struct json_object *question)
{
	struct stat st;
	int memory, ret;

	ret = machine_begin_capture(s->cli->dir, s->backend, question, &s->answer, &s->socket,
				    &memory, &s->cli->fail);
	if (ret)
		return ret;
	json_object_object_get_ex(s->answer, "drops", &s->drops);
	if (!fstat(memory, &st) && st.st_size > 0) {
		s->bytes = (size_t)st.st_size;
		s->memory = mmap(NULL, s->bytes, PROT_READ | PROT_WRITE, MAP_SHARED, memory, 0);
		if (s->memory == MAP_FAILED)
			s->memory = NULL;
	}
	close(memory);
	if (!s->memory)
		return sr_fail(&s->cli->fail, ENOMEM, "can't map the capture's memory: %m");
	ret = find_rings(s);
	return ret ? sr_fail(&s->cli->fail, -ret,
			     "splitringd's capture is of another version; restart it")
		   : 0;
}

void capture_close(struct session *s)
{
	if (s->socket >= 0)
		close(s->socket);
	if (s->memory)
		munmap(s->memory, s->bytes);
	json_object_put(s->answer);
	free(s->interfaces);
}
