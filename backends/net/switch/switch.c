/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <rte_ether.h>

#include "impl.h"

/* On top of the MTU: the header, and two VLAN tags. */
#define FRAME_EXTRA (uint32_t)(RTE_ETHER_HDR_LEN + 2 * RTE_VLAN_HLEN)

#define QUEUE_SIZE 512u
#define AGE_S      300u
#define STALL_MS   1000u

/* --- fabric -------------------------------------------------------------------------------------
 */

static void *zalloc_aligned(size_t size)
{
	void *p = aligned_alloc(64, (size + 63) & ~(size_t)63);

	if (p)
		memset(p, 0, size);
	return p;
}

static int lanes_init(struct sr_fabric *fabric)
{
	for (unsigned i = 0; i < fabric->count; i++) {
		struct sr_lane *lane = &fabric->lanes[i];

		lane->fabric = fabric;
		lane->index = i;
		for (unsigned j = 0; j < fabric->count; j++) {
			if (i == j)
				continue;
			lane->from[j] = zalloc_aligned(sizeof(struct sr_lane_ring));
			if (!lane->from[j])
				return -ENOMEM;
		}
	}
	return 0;
}

int sr_fabric_create(const struct sr_fabric_host *host, unsigned lanes,
		     const struct sr_fabric_options *options, struct sr_fabric **out)
{
	static const struct sr_fabric_options defaults;
	struct sr_fabric *fabric;
	int rc;

	options = options ? options : &defaults;
	if (lanes == 0 || lanes > SR_FABRIC_MAX_LANES ||
	    options->queue_size & (options->queue_size - 1) || options->queue_size > 32768)
		return -EINVAL;
	fabric = calloc(1, sizeof(*fabric));
	if (!fabric)
		return -ENOMEM;
	fabric->host = host;
	fabric->queue_size = options->queue_size ? options->queue_size : QUEUE_SIZE;
	fabric->age_s = options->age_s ? options->age_s : AGE_S;
	fabric->stall_ns = (options->stall_ms ? options->stall_ms : STALL_MS) * UINT64_C(1000000);
	fabric->lanes = zalloc_aligned(lanes * sizeof(fabric->lanes[0]));
	fabric->count = fabric->lanes ? lanes : 0;
	rc = fabric->lanes ? lanes_init(fabric) : -ENOMEM;
	if (rc) {
		sr_fabric_destroy(fabric);
		return rc;
	}
	*out = fabric;
	return 0;
}

void sr_fabric_destroy(struct sr_fabric *fabric)
{
	for (unsigned i = 0; i < fabric->count; i++)
		for (unsigned j = 0; j < fabric->count; j++)
			free(fabric->lanes[i].from[j]);
	free(fabric->lanes);
	free(fabric->switches);
	free(fabric);
}

unsigned sr_fabric_lanes(const struct sr_fabric *fabric)
{
	return fabric->count;
}

unsigned sr_fabric_quietest(const struct sr_fabric *fabric)
{
	unsigned best = 0;

	for (unsigned i = 1; i < fabric->count; i++)
		if (fabric->lanes[i].load < fabric->lanes[best].load)
			best = i;
	return best;
}

unsigned sr_fabric_load(const struct sr_fabric *fabric, unsigned lane)
{
	return fabric->lanes[lane].load;
}

/* --- switches -----------------------------------------------------------------------------------
 */

static struct sr_switch *switch_new(struct sr_fabric *fabric, const char *name)
{
	struct sr_switch **switches =
	    realloc(fabric->switches, (fabric->switch_count + 1) * sizeof(struct sr_switch *));
	struct sr_switch *sw = calloc(1, sizeof(*sw));

	if (switches)
		fabric->switches = switches;
	if (!switches || !sw)
		goto fail;
	sw->fabric = fabric;
	sw->name = strdup(name);
	sw->fdb = sr_fdb_new(fabric->age_s);
	sw->members = calloc(1, sizeof(*sw->members));
	if (!sw->name || !sw->fdb || !sw->members)
		goto fail;
	fabric->switches[fabric->switch_count++] = sw;
	return sw;
fail:
	if (sw) {
		free(sw->name);
		free(sw->fdb);
		free(sw->members);
	}
	free(sw);
	return NULL;
}

struct sr_switch *sr_fabric_switch(struct sr_fabric *fabric, const char *name, bool make)
{
	for (size_t i = 0; i < fabric->switch_count; i++)
		if (strcmp(fabric->switches[i]->name, name) == 0)
			return fabric->switches[i];
	return make ? switch_new(fabric, name) : NULL;
}

void sr_switch_free(struct sr_switch *sw)
{
	struct sr_fabric *fabric;
	size_t i = 0;

	if (!sw)
		return;
	fabric = sw->fabric;
	while (fabric->switches[i] != sw)
		i++;
	fabric->switches[i] = fabric->switches[--fabric->switch_count];
	free(sw->name);
	free(sw->fdb);
	free(sw->members);
	free(sw);
}

const char *sr_switch_name(const struct sr_switch *sw)
{
	return sw->name;
}

struct sr_fabric *sr_switch_fabric(const struct sr_switch *sw)
{
	return sw->fabric;
}

struct sr_switch *sr_fabric_switch_at(const struct sr_fabric *fabric, size_t index)
{
	return index < fabric->switch_count ? fabric->switches[index] : NULL;
}

struct sr_member *sr_switch_member_at(const struct sr_switch *sw, size_t index)
{
	return index < sw->members->count ? sw->members->list[index] : NULL;
}

size_t sr_switch_addresses(struct sr_switch *sw, struct sr_switch_address *out, size_t max)
{
	uint32_t now = (uint32_t)(sw->fabric->host->now(sw->fabric) / 1000000000u);
	size_t n = 0;

	for (unsigned i = 0; i < SR_FDB_BUCKETS * SR_FDB_WAYS && n < max; i++) {
		uint64_t word = __atomic_load_n(
		    &sw->fdb->buckets[i / SR_FDB_WAYS].words[i % SR_FDB_WAYS], __ATOMIC_RELAXED);
		uint32_t seen = __atomic_load_n(&sw->fdb->seen[i / SR_FDB_WAYS][i % SR_FDB_WAYS],
						__ATOMIC_RELAXED);
		bool fixed = seen == SR_FDB_FIXED;
		uint32_t age = fixed || now < seen ? 0 : now - seen;

		if (!word || age > sw->fabric->age_s || !sw->by_id[word & 0xffff])
			continue;
		out[n] = (struct sr_switch_address){
			.fixed = fixed,
			.age_s = age,
			.member = sw->by_id[word & 0xffff],
		};
		for (unsigned j = 0; j < 6; j++)
			out[n].mac[j] = (uint8_t)(word >> (56 - 8 * j));
		n++;
	}
	return n;
}

/* --- members ------------------------------------------------------------------------------------
 */

static void nothing(void *arg)
{
}

/*
 * The lanes see the new list from their next burst on. When each has been called once, none has the
 * old one any more.
 */
static int publish(struct sr_switch *sw, struct sr_member *add, const struct sr_member *remove)
{
	struct sr_members *old = sw->members, *list;

	list = calloc(1, sizeof(*list) + (old->count + 1) * sizeof(list->list[0]));
	if (!list)
		return -ENOMEM;
	for (unsigned i = 0; i < old->count; i++)
		if (old->list[i] != remove)
			list->list[list->count++] = old->list[i];
	if (add)
		list->list[list->count++] = add;
	/* Release: pairs with forward_burst(). */
	__atomic_store_n(&sw->members, list, __ATOMIC_RELEASE);
	for (unsigned i = 0; i < sw->fabric->count; i++)
		sw->fabric->host->call(&sw->fabric->lanes[i], nothing, NULL);
	free(old);
	return 0;
}

static int config_ok(const struct sr_fabric *fabric, const struct sr_member_config *config)
{
	if (config->queue_count == 0 || config->queue_count > SR_MEMBER_MAX_QUEUES ||
	    !config->ops->receive || !config->ops->send || !config->ops->arm_receive ||
	    !config->ops->arm_send || (config->check_mac && !sr_fdb_address(config->mac)) ||
	    (config->rate_bytes && !config->rate_interval_us))
		return -EINVAL;
	for (unsigned i = 0; i < config->queue_count; i++)
		if (config->queues[i].lane >= fabric->count)
			return -EINVAL;
	return 0;
}

static int ports_init(struct sr_member *member, const struct sr_member_config *config)
{
	struct sr_fabric *fabric = member->sw->fabric;

	member->ports = zalloc_aligned(config->queue_count * sizeof(member->ports[0]));
	if (!member->ports)
		return -ENOMEM;
	memset(member->local, SR_NO_QUEUE, sizeof(member->local));
	member->queue_count = config->queue_count;
	for (unsigned i = 0; i < member->queue_count; i++) {
		struct sr_member_port *port = &member->ports[i];
		struct sr_outlet *out =
		    zalloc_aligned(sizeof(*out) + fabric->queue_size * sizeof(out->packets[0]));

		if (!out)
			return -ENOMEM;
		out->port = port;
		out->mask = fabric->queue_size - 1;
		port->member = member;
		port->index = i;
		port->config = config->queues[i];
		port->lane = out->lane = &fabric->lanes[port->config.lane];
		port->burst = SR_BURST;
		port->out = out;
		if (member->local[port->config.lane] == SR_NO_QUEUE)
			member->local[port->config.lane] = (uint8_t)i;
	}
	return 0;
}

static int member_init(struct sr_member *member, const struct sr_member_config *config)
{
	size_t size = config->address_count * sizeof(config->addresses[0]);

	member->ops = *config->ops;
	member->arg = config->arg;
	member->up = !config->down;
	member->uplink = config->uplink;
	member->check_mac = config->check_mac;
	member->no_send_events = config->no_send_events;
	member->address = sr_fdb_address(config->mac);
	member->capture_id = config->capture_id;
	member->learn_max = config->uplink ? SR_FDB_UPLINK_MAX : SR_FDB_GUEST_MAX;
	member->frame_max = config->mtu ? config->mtu + FRAME_EXTRA : UINT32_MAX;
	rte_spinlock_init(&member->rate.lock);
	sr_member_set_rate(member, config->rate_bytes, config->rate_interval_us);
	member->name = strdup(config->name);
	if (!member->name)
		return -ENOMEM;
	if (size) {
		member->addresses = malloc(size);
		if (!member->addresses)
			return -ENOMEM;
		memcpy(member->addresses, config->addresses, size);
		member->address_count = config->address_count;
	}
	return ports_init(member, config);
}

static void member_free(struct sr_member *member)
{
	for (unsigned i = 0; i < member->queue_count; i++) {
		struct sr_outlet *out = member->ports[i].out;

		for (; out && out->count; out->count--)
			rte_pktmbuf_free(out->packets[out->head++ & out->mask]);
		free(out);
		member->sw->fabric->host->free(&member->ports[i]);
	}
	free(member->ports);
	free(member->addresses);
	free(member->name);
	free(member);
}

struct start {
	struct sr_member_port *port;
	int rc;
};

static void start_port(void *arg)
{
	struct start *start = arg;

	start->rc = start->port->lane->fabric->host->start(start->port);
}

static void stop_port(void *arg)
{
	struct sr_member_port *port = arg;

	port->lane->fabric->host->stop(port);
}

static int start_ports(struct sr_member *member)
{
	for (unsigned i = 0; i < member->queue_count; i++) {
		struct start start = { .port = &member->ports[i] };

		member->sw->fabric->host->call(start.port->lane, start_port, &start);
		if (start.rc)
			return start.rc;
		start.port->started = true;
		start.port->lane->load++;
	}
	return 0;
}

static uint16_t free_id(const struct sr_switch *sw)
{
	for (uint16_t id = 1; id <= SR_SWITCH_MAX_MEMBERS; id++)
		if (!sw->by_id[id])
			return id;
	return 0;
}

int sr_member_add(struct sr_switch *sw, const struct sr_member_config *config,
		  struct sr_member **out)
{
	struct sr_member *member;
	int rc = config_ok(sw->fabric, config);

	if (rc)
		return rc;
	if (!free_id(sw))
		return -ENOSPC;
	member = zalloc_aligned(sizeof(*member));
	if (!member)
		return -ENOMEM;
	member->sw = sw;
	member->id = free_id(sw);
	rc = member_init(member, config);
	if (!rc)
		rc = publish(sw, member, NULL);
	if (rc) {
		member_free(member);
		return rc;
	}
	/* Release: pairs with look_up(). */
	__atomic_store_n(&sw->by_id[member->id], member, __ATOMIC_RELEASE);
	/* Where two have one address the first keeps it, and the other's is learned nowhere. */
	if (member->address)
		sr_fdb_fix(sw->fdb, member->address, member->id);
	rc = start_ports(member);
	if (rc) {
		sr_member_remove(member);
		return rc;
	}
	*out = member;
	return 0;
}

static void flush_lane(void *arg)
{
	sr_lane_flush(arg);
}

/* What was on its way when this was called; others may send on, faster than it is taken. */
static void empty_lane(void *arg)
{
	struct sr_lane *lane = arg;

	for (unsigned i = 0; i < SR_LANE_RING / SR_LANE_BURST; i++)
		if (!sr_lane_poll(lane, lane->now))
			return;
}

static void call_all(struct sr_fabric *fabric, void (*fn)(void *arg))
{
	for (unsigned i = 0; i < fabric->count; i++)
		fabric->host->call(&fabric->lanes[i], fn, &fabric->lanes[i]);
}

void sr_member_remove(struct sr_member *member)
{
	struct sr_switch *sw;

	if (!member)
		return;
	sw = member->sw;
	/* It sends no more, so nothing is learned of it any more, */
	for (unsigned i = 0; i < member->queue_count; i++) {
		if (!member->ports[i].started)
			continue;
		sw->fabric->host->call(member->ports[i].lane, stop_port, &member->ports[i]);
		member->ports[i].lane->load--;
	}
	__atomic_store_n(&member->up, false, __ATOMIC_RELAXED);
	__atomic_store_n(&sw->by_id[member->id], NULL, __ATOMIC_RELEASE);
	sr_fdb_forget(sw->fdb, member->id);
	/* nobody finds it any more, */
	while (publish(sw, NULL, member))
		nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
	/* what was on its way to it has been handed over, and has arrived. */
	call_all(sw->fabric, flush_lane);
	call_all(sw->fabric, empty_lane);
	member_free(member);
}

const char *sr_member_name(const struct sr_member *member)
{
	return member->name;
}

void *sr_member_arg(const struct sr_member *member)
{
	return member->arg;
}

unsigned sr_member_queue_count(const struct sr_member *member)
{
	return member->queue_count;
}

void sr_member_set_link(struct sr_member *member, bool up)
{
	__atomic_store_n(&member->up, up, __ATOMIC_RELAXED);
}

void sr_member_set_rate(struct sr_member *member, uint64_t bytes, uint64_t interval_us)
{
	const struct sr_fabric *fabric = member->sw->fabric;

	sr_rate_set(&member->rate, bytes, interval_us, fabric->host->now(fabric));
}

bool sr_member_carrier(const struct sr_member *member)
{
	if (!__atomic_load_n(&member->up, __ATOMIC_RELAXED))
		return false;
	for (unsigned i = 0; i < member->queue_count; i++)
		if (!__atomic_load_n(&member->ports[i].out->stalled, __ATOMIC_RELAXED))
			return true;
	return false;
}

const struct sr_member_stats *sr_member_stats(const struct sr_member *member, unsigned queue)
{
	return &member->ports[queue].stats;
}
