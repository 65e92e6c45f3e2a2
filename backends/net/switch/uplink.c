/* SPDX-License-Identifier: MIT */

/* A port as a member of a switch. */

#include <errno.h>
#include <string.h>

#include <common/plugin.h>
#include <net/switch.h>
#include <ports/ports.h>

static int uplink_receive(void *arg, unsigned queue, struct rte_mbuf **pkts, unsigned n)
{
	return (int)sr_port_receive(arg, queue, pkts, n);
}

static int uplink_send(void *arg, unsigned queue, struct rte_mbuf **pkts, unsigned n)
{
	return (int)sr_port_send(arg, queue, pkts, n);
}

static bool uplink_arm_receive(void *arg, unsigned queue)
{
	return sr_port_arm(arg, queue);
}

/* No device says when it has room again: it has, soon. Mostly; nobody spins for one that has not.
 */
static bool uplink_arm_send(void *arg, unsigned queue)
{
	sr_port_await_room(arg, queue);
	return false;
}

static const struct sr_member_ops uplink_ops = {
	.receive = uplink_receive,
	.send = uplink_send,
	.arm_receive = uplink_arm_receive,
	.arm_send = uplink_arm_send,
};

static int join(struct sr_switch *sw, struct sr_port *port, struct sr_member **member)
{
	struct sr_fabric *fabric = sr_switch_fabric(sw);
	const struct sr_net_port_info *info = sr_port_info(port);
	struct sr_member_queue queues[SR_MEMBER_MAX_QUEUES];
	struct sr_member_config config = {
		.name = sr_port_name(port),
		.ops = &uplink_ops,
		.arg = port,
		.queue_count = info->queues,
		.queues = queues,
		.uplink = true,
		.mtu = info->mtu,
	};
	unsigned lane = sr_fabric_quietest(fabric);

	for (unsigned i = 0; i < info->queues; i++)
		queues[i] = (struct sr_member_queue){
			.lane = (lane + i) % sr_fabric_lanes(fabric),
			.fd = sr_port_fd(port, i),
		};
	return sr_member_add(sw, &config, member);
}

int sr_switch_uplink(struct sr_switch *sw, const struct sr_port_registry *registry,
		     const char *uplink, uint16_t mtu, struct rte_mempool *pool,
		     struct sr_member **member, char *error, size_t size)
{
	const struct sr_port_config config = {
		.queues = sr_fabric_lanes(sr_switch_fabric(sw)),
		.mtu = mtu,
		.pool = pool,
	};
	struct sr_port *port;
	int rc;

	rc = sr_port_open(registry, uplink, &config, &port, error, size);
	if (rc)
		return rc;
	rc = join(sw, port, member);
	if (rc) {
		sr_port_close(port);
		return sr_plugin_error(error, size, rc, "%s can't join %s: %s", uplink,
				       sr_switch_name(sw), strerror(-rc));
	}
	return 0;
}

struct sr_port *sr_switch_uplink_port(const struct sr_member *member)
{
	return sr_member_arg(member);
}

void sr_switch_uplink_close(struct sr_member *member)
{
	struct sr_port *port;

	if (!member)
		return;
	port = sr_switch_uplink_port(member);
	sr_member_remove(member);
	sr_port_close(port);
}
