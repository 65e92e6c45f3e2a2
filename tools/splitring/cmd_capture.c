/* SPDX-License-Identifier: MIT */
/*
 * capture: splitringd's net threads copy packets to memory that they share with us, and we write
 * them down. They never wait for us: what we are too slow for is counted, and told.
 */
#include "capture.h"

#include "cli.h"
#include "device.h"
#include "machines.h"
#include "pcapng.h"
#include "told.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <json.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* How long a packet may wait for us while there is little to do. */
#define IDLE_MS 10
/* Packets between two looks at the rest of the world. */
#define PASS 4096u

struct wish {
	uint64_t count; /* 0: no end */
	uint32_t snaplen;
	const char *file;
	bool all;
	uint16_t domid;
	int64_t devid; /* -1: all of the domain */
	unsigned backend;
};

static volatile sig_atomic_t stopped;

static void on_signal(int sig)
{
	stopped = sig;
}

/* --- what is asked for --------------------------------------------------------------------------
 */

static bool number(const char *text, uint64_t max, uint64_t *value)
{
	char *end;

	errno = 0;
	*value = strtoull(text, &end, 10);
	return *text >= '0' && *text <= '9' && !*end && !errno && *value && *value <= max;
}

static int parse_options(struct cli *cli, int argc, char **argv, struct wish *w)
{
	static const struct option options[] = {
		{ "write", required_argument, NULL, 'w' },
		{ "count", required_argument, NULL, 'c' },
		{ "snaplen", required_argument, NULL, 's' },
		{ 0 },
	};
	uint64_t n;
	int c;

	while ((c = cli_option(cli, argc, argv, options, 0, 1)) != -1) {
		if (c == '?')
			return CLI_USAGE;
		if (c == 'w')
			w->file = optarg;
		else if (!number(optarg, c == 's' ? CAPTURE_SNAPLEN : UINT64_MAX, &n)) {
			sr_fail(&cli->fail, EINVAL, "-%c %s: not a number that makes sense", c,
				optarg);
			return CLI_USAGE;
		} else if (c == 's')
			w->snaplen = (uint32_t)n;
		else
			w->count = n;
	}
	if (!w->file && isatty(STDOUT_FILENO)) {
		sr_fail(&cli->fail, EINVAL,
			"a capture is nothing for a terminal; give -w FILE, or pipe it into "
			"tshark -i -");
		return CLI_USAGE;
	}
	return 0;
}

/* On a Xen host only splitringd knows the NICs. */
static int find_on_xen(struct cli *cli, char *domain, struct wish *w, bool *found)
{
	struct json_object *array = json_object_new_array(), *v;
	int ret = xen_nics(cli, 1, &domain, array);

	for (size_t i = 0; !ret && i < json_object_array_length(array); i++) {
		struct json_object *o = json_object_array_get_idx(array, i);
		int64_t domid = -1, devid = -1;

		if (json_object_object_get_ex(o, "domid", &v))
			domid = json_object_get_int64(v);
		if (json_object_object_get_ex(o, "devid", &v))
			devid = json_object_get_int64(v);
		if (w->devid >= 0 && w->devid != devid)
			continue;
		w->domid = (uint16_t)domid;
		*found = true;
	}
	json_object_put(array);
	return ret;
}

static int find_in_store(struct cli *cli, const char *domain, struct wish *w, bool *found)
{
	struct sr_domain_list_entry entry;
	struct device *vifs;
	unsigned n;
	int ret = cli_open_store(cli);

	if (!ret)
		ret = cli_domain(cli, domain, &entry);
	if (ret)
		return ret;
	if (device_list(cli->xs, DEVICE_VIF, entry.domid, &vifs, &n))
		return sr_fail(&cli->fail, ENOMEM, "out of memory; free some");
	w->domid = entry.domid;
	for (unsigned i = 0; i < n && !*found; i++) {
		if (w->devid >= 0 && w->devid != vifs[i].devid)
			continue;
		w->backend = vifs[i].backend;
		*found = true;
	}
	free(vifs);
	return 0;
}

/* vif3.0, or a domain, or all. */
static int find_vif(struct cli *cli, const char *what, struct wish *w)
{
	unsigned domid, devid;
	char number_of[8], *domain = (char *)(uintptr_t)what;
	bool found = false;
	int end = 0, ret = cli_find(cli);

	if (ret)
		return ret;
	w->all = !strcmp(what, "all");
	w->devid = -1;
	if (w->all)
		return 0;
	if (sscanf(what, "vif%5u.%9u%n", &domid, &devid, &end) == 2 && !what[end]) {
		w->devid = devid;
		snprintf(number_of, sizeof(number_of), "%u", domid % 100000);
		domain = number_of;
	}
	ret =
	    cli->xen ? find_on_xen(cli, domain, w, &found) : find_in_store(cli, domain, w, &found);
	if (!ret && !found)
		ret = sr_fail(&cli->fail, ENOENT, "%s: no such NIC; see splitring network-list",
			      what);
	return ret;
}

/* --- interfaces ---------------------------------------------------------------------------------
 */

static bool read_mac(const char *text, uint8_t mac[6])
{
	return sscanf(text, "%hhx:%hhx:%hhx:%hhx:%hhx:%hhx", &mac[0], &mac[1], &mac[2], &mac[3],
		      &mac[4], &mac[5]) == 6;
}

static void write_interface(struct session *s, uint64_t id)
{
	const struct device vif = {
		.domid = (uint16_t)(id >> 32 & 0x7fff),
		.backend = (uint16_t)s->backend,
		.devid = (uint32_t)id,
	};
	struct told told = { .backend = -1 };
	/* It may have come just now. */
	struct json_object *o = told_find(s->cli, &told, "vifs", &vif);
	char name[32], text[128] = "";
	uint8_t mac[6];
	bool has_mac = o && read_mac(told_text(o, "mac"), mac);

	snprintf(name, sizeof(name), "vif%u.%u", vif.domid, vif.devid);
	if (o)
		snprintf(text, sizeof(text), "bridge %s", told_text(o, "bridge"));
	pcapng_interface(s->out, name, text, has_mac ? mac : NULL, s->snaplen);
	json_object_put(o);
	json_object_put(told.answer);
}

/* The file's number of a NIC; new ones are written to it. -ENOMEM. */
static int interface_of(struct session *s, uint64_t id, struct interface **out)
{
	struct interface *more;

	for (unsigned i = 0; i < s->interface_count; i++)
		if (s->interfaces[i].id == id) {
			*out = &s->interfaces[i];
			return 0;
		}
	more = realloc(s->interfaces, (s->interface_count + 1) * sizeof(*more));
	if (!more)
		return sr_fail(&s->cli->fail, ENOMEM, "out of memory; free some");
	s->interfaces = more;
	*out = &more[s->interface_count++];
	**out = (struct interface){ .id = id };
	write_interface(s, id);
	return 0;
}

/* --- packets ------------------------------------------------------------------------------------
 */

static const char *drop_comment(const struct session *s, uint8_t drop, char *text, size_t size)
{
	struct json_object *name = NULL;

	if (!drop)
		return NULL;
	if (s->drops)
		name = json_object_array_get_idx(s->drops, drop - 1u);
	snprintf(text, size, "dropped: %s", name ? json_object_get_string(name) : "?");
	return text;
}

static int write_record(struct session *s, const struct sr_capture_record *r)
{
	struct interface *interface;
	char comment[64];
	int ret = interface_of(s, r->id, &interface);

	if (ret)
		return ret;
	interface->written++;
	s->written++;
	pcapng_packet(s->out, &(struct pcapng_packet){
				  .interface = (uint32_t)(interface - s->interfaces),
				  .queue = r->queue,
				  .time = r->time,
				  .captured = r->captured,
				  .length = r->length,
				  .inbound = r->from_guest,
				  .comment = drop_comment(s, r->drop, comment, sizeof(comment)),
				  .data = r->data,
			      });
	return 0;
}

/* What the rings have, the oldest first, up to `max`. Returns how many. */
static int drain(struct session *s, unsigned max)
{
	unsigned n = 0;

	while (n < max && !(s->count && s->written == s->count)) {
		const struct sr_capture_record *oldest = NULL, *record;
		struct sr_capture_reader *from = NULL;
		int ret = 0;

		for (unsigned i = 0; i < s->ring_count && !ret; i++) {
			ret = sr_capture_peek(&s->rings[i], &record);
			if (record && (!oldest || record->time < oldest->time)) {
				oldest = record;
				from = &s->rings[i];
			}
		}
		if (ret)
			return sr_fail(&s->cli->fail, -ret,
				       "what splitringd has captured makes no sense: do both "
				       "programs have the same version?");
		if (!oldest)
			break;
		ret = write_record(s, oldest);
		if (ret)
			return ret;
		sr_capture_next(from);
		n++;
	}
	return (int)n;
}

/* --- a run --------------------------------------------------------------------------------------
 */

/* 0, or 1 if nobody reads any more, or what the line says. */
static int flush(struct session *s)
{
	if (!fflush(s->out) && !ferror(s->out))
		return 0;
	if (errno == EPIPE || (errno == EINTR && stopped))
		return 1;
	return sr_fail(&s->cli->fail, errno, "can't write the capture: %m");
}

static int run(struct session *s)
{
	struct pollfd p = { .fd = s->socket, .events = POLLIN };
	int n, ret;

	for (;;) {
		n = drain(s, stopped || s->gone ? UINT16_MAX : PASS);
		ret = n < 0 ? n : flush(s);
		if (ret || stopped || s->gone || (s->count && s->written == s->count))
			return ret;
		/* The daemon says nothing more: whatever comes is its end. */
		if (poll(&p, 1, n ? 0 : IDLE_MS) > 0)
			s->gone = true;
	}
}

static uint64_t now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

/* What the net threads had no room for, by NIC, into the file. Returns their sum. */
static uint64_t write_statistics(struct session *s, uint64_t start)
{
	struct sr_capture_count count;
	struct interface *interface;
	uint64_t missed = 0, end = now();

	for (unsigned i = 0; i < s->ring_count; i++)
		for (unsigned k = 0; k <= SR_CAPTURE_INTERFACES; k++) {
			if (!sr_capture_read_count(&s->rings[i], k, &count))
				continue;
			missed += count.missed;
			if (count.id && count.missed && !interface_of(s, count.id, &interface))
				interface->missed += count.missed;
		}
	for (unsigned i = 0; i < s->interface_count; i++)
		pcapng_statistics(s->out, i, start, end,
				  s->interfaces[i].written + s->interfaces[i].missed,
				  s->interfaces[i].missed);
	return missed;
}

static int capture(struct session *s)
{
	uint64_t start = now(), missed;
	int ret;

	pcapng_section(s->out, "splitring " SPLITRING_VERSION);
	ret = run(s);
	if (ret < 0)
		return ret;
	missed = write_statistics(s, start);
	if (!ret)
		ret = flush(s);
	fprintf(stderr, "splitring: %" PRIu64 " packets of %u NICs captured, %" PRIu64 " missed\n",
		s->written, s->interface_count, missed);
	if (ret < 0 || !s->gone)
		return ret < 0 ? ret : 0;
	return sr_fail(
	    &s->cli->fail, EPIPE,
	    "splitringd is gone, or started again: the capture ends here; start another");
}

static int open_output(struct cli *cli, const char *file, FILE **out)
{
	bool to_stdout = !file || !strcmp(file, "-");
	/* What guests send is nobody else's business. */
	int fd = to_stdout ? dup(STDOUT_FILENO)
			   : open(file, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	*out = fd < 0 ? NULL : fdopen(fd, "w");
	return *out ? 0
		    : sr_fail(&cli->fail, errno, "%s: can't write it: %m",
			      to_stdout ? "standard output" : file);
}

static int begin(struct session *s, const struct wish *w)
{
	struct json_object *question = json_object_new_object();

	json_object_object_add(question, "cmd", json_object_new_string("capture"));
	json_object_object_add(question, "snaplen", json_object_new_int64(w->snaplen));
	if (!w->all)
		json_object_object_add(question, "domid", json_object_new_int(w->domid));
	if (!w->all && w->devid >= 0)
		json_object_object_add(question, "devid", json_object_new_int64(w->devid));
	return capture_open(s, question);
}

int cmd_capture(struct cli *cli, int argc, char **argv)
{
	const struct sigaction action = { .sa_handler = on_signal };
	struct wish w = { .snaplen = CAPTURE_SNAPLEN };
	struct session s = { .cli = cli, .socket = -1 };
	int ret = parse_options(cli, argc, argv, &w);

	if (!ret)
		ret = find_vif(cli, optind < argc ? argv[optind] : "all", &w);
	if (ret)
		return ret;
	s.backend = w.backend;
	s.snaplen = w.snaplen;
	s.count = w.count;
	/* Without SA_RESTART, so that it gets us out of a pipe that nobody reads. */
	sigaction(SIGINT, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
	ret = begin(&s, &w);
	if (!ret)
		ret = open_output(cli, w.file, &s.out);
	if (!ret)
		ret = capture(&s);
	/* All has been written by now, or nobody reads it any more. */
	if (s.out)
		fclose(s.out);
	capture_close(&s);
	return ret;
}
