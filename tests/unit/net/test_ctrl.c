/* SPDX-License-Identifier: MIT */
/* The control ring: hash, its mapping to queues, static grant mappings. */
#include "rig.h"

#include <errno.h>
#include <string.h>

#define OK       XEN_NETIF_CTRL_STATUS_SUCCESS
#define INVALID  XEN_NETIF_CTRL_STATUS_INVALID_PARAMETER
#define OVERFLOW XEN_NETIF_CTRL_STATUS_BUFFER_OVERFLOW
#define UNKNOWN  XEN_NETIF_CTRL_STATUS_NOT_SUPPORTED

/* The page that lists and keys are put in. */
#define LIST 500u

static uint8_t frame[4096];
static struct rig_got got;
static uint16_t next_id;

static const struct rig_options options = { .features = RIG_ALL, .ctrl = true };

static int setup(void **state)
{
	rig_connect(&options);
	return 0;
}

static uint32_t ask(uint16_t type, uint32_t a, uint32_t b, uint32_t c, uint32_t *data)
{
	const struct xen_netif_ctrl_request req = { ++next_id, type, { a, b, c } };
	struct xen_netif_ctrl_response rsp;

	sr_netif_ctrl_front_put(&rig.ctrl, &req);
	sr_ring_front_publish(&rig.ctrl.ring);
	assert_int_equal(sr_netif_ctrl_poll(rig.netif), 1);
	if (!sr_ring_front_pending(&rig.ctrl.ring)) {
		/* The queue has to do it. */
		assert_int_equal(rig.wakes, 1);
		assert_false(sr_netif_ctrl_arm(rig.netif));
		assert_int_equal(sr_netif_ctrl_poll(rig.netif), 0);
		/* It does some of it a call, and doesn't sleep before that is done. */
		while (sr_netq_arm_receive(rig.q))
			assert_int_equal(sr_netq_receive(rig.q, NULL, 0), 0);
		assert_int_equal(rig.ctrl_wakes, 1);
		assert_true(sr_netif_ctrl_arm(rig.netif));
		assert_int_equal(sr_netif_ctrl_poll(rig.netif), 1);
		rig.wakes = rig.ctrl_wakes = 0;
	}
	assert_int_equal(sr_ring_front_pending(&rig.ctrl.ring), 1);
	sr_netif_ctrl_front_take(&rig.ctrl, &rsp);
	assert_int_equal(rsp.id, req.id);
	assert_int_equal(rsp.type, type);
	if (data)
		*data = rsp.data;
	return rsp.status;
}

/* --- hash ---------------------------------------------------------------------------------------
 */

/* The key, packets and results that Microsoft publishes to check an implementation against. */
static const uint8_t key[40] = {
	0x6d, 0x5a, 0x56, 0xda, 0x25, 0x5b, 0x0e, 0xc2, 0x41, 0x67, 0x25, 0x3d, 0x43, 0xa3,
	0x8f, 0xb0, 0xd0, 0xca, 0x2b, 0xcb, 0xae, 0x7b, 0x30, 0xb4, 0x77, 0xcb, 0x2d, 0xa3,
	0x80, 0x30, 0xf2, 0x0c, 0x6a, 0x42, 0xb7, 0x3b, 0xbe, 0xac, 0x01, 0xfa,
};

static void set_key(void)
{
	memcpy(rig.pages + LIST * SR_PAGE_SIZE, key, sizeof(key));
	assert_int_equal(ask(XEN_NETIF_CTRL_TYPE_SET_HASH_ALGORITHM,
			     XEN_NETIF_CTRL_HASH_ALGORITHM_TOEPLITZ, 0, 0, NULL),
			 OK);
	assert_int_equal(ask(XEN_NETIF_CTRL_TYPE_SET_HASH_KEY, rig.refs[LIST], 40, 0, NULL), OK);
}

static unsigned published_packet(bool tcp)
{
	const struct rig_spec s = { .payload = 10, .udp = !tcp };
	unsigned len = rig_build(frame, &s);

	/* 66.9.149.187:2794 to 161.142.100.80:1766 */
	memcpy(frame + 14 + 12, "\x42\x09\x95\xbb\xa1\x8e\x64\x50", 8);
	memcpy(frame + 34, "\x0a\xea\x06\xe6", 4);
	return len;
}

static uint32_t received_hash(unsigned len, int type)
{
	uint32_t value;

	rig_post(0, 2);
	memset(rig.pages, RIG_STALE, 2 * SR_PAGE_SIZE);
	assert_int_equal(rig_give(rig_packet(frame, len, len)), 1);
	assert_true(rig_take(&got));
	assert_memory_equal(got.bytes, frame, len);
	if (type < 0) {
		assert_int_equal(got.hash.type, 0);
		/* The second buffer is still there. */
		assert_int_equal(rig_give(rig_packet(frame, len, len)), 1);
		assert_true(rig_take(&got));
		return 0;
	}
	assert_int_equal(got.hash.type, XEN_NETIF_EXTRA_TYPE_HASH);
	assert_int_equal(got.hash.u.hash.type, type);
	assert_int_equal(got.hash.u.hash.algorithm, XEN_NETIF_CTRL_HASH_ALGORITHM_TOEPLITZ);
	memcpy(&value, got.hash.u.hash.value, 4);
	return value;
}

static void hash_as_published(void **state)
{
	const struct rig_spec v6 = { .payload = 10, .v6 = true };
	uint32_t data;
	unsigned len;

	assert_int_equal(ask(XEN_NETIF_CTRL_TYPE_GET_HASH_FLAGS, 0, 0, 0, &data), UNKNOWN);
	assert_int_equal(ask(XEN_NETIF_CTRL_TYPE_SET_HASH_FLAGS, 1, 0, 0, NULL), INVALID);
	set_key();
	assert_int_equal(ask(XEN_NETIF_CTRL_TYPE_GET_HASH_FLAGS, 0, 0, 0, &data), OK);
	assert_int_equal(data, 15);
	assert_int_equal(ask(XEN_NETIF_CTRL_TYPE_SET_HASH_FLAGS, 16, 0, 0, NULL), INVALID);
	len = published_packet(true);
	received_hash(len, -1);
	assert_int_equal(ask(XEN_NETIF_CTRL_TYPE_SET_HASH_FLAGS, 15, 0, 0, NULL), OK);
	assert_int_equal(received_hash(len, _XEN_NETIF_CTRL_HASH_TYPE_IPV4_TCP), 0x51ccc178);
	len = published_packet(false);
	assert_int_equal(received_hash(len, _XEN_NETIF_CTRL_HASH_TYPE_IPV4), 0x323e8fc2);
	/* 3ffe:2501:200:1fff::7 to 3ffe:2501:200:3::1, 2794 to 1766 */
	len = rig_build(frame, &v6);
	memcpy(frame + 14 + 8,
	       "\x3f\xfe\x25\x01\x02\x00\x1f\xff\0\0\0\0\0\0\0\x07"
	       "\x3f\xfe\x25\x01\x02\x00\x00\x03\0\0\0\0\0\0\0\x01",
	       32);
	memcpy(frame + 54, "\x0a\xea\x06\xe6", 4);
	assert_int_equal(received_hash(len, _XEN_NETIF_CTRL_HASH_TYPE_IPV6_TCP), 0x40207d3d);
	assert_int_equal(ask(XEN_NETIF_CTRL_TYPE_SET_HASH_FLAGS, 4, 0, 0, NULL), OK);
	assert_int_equal(received_hash(len, _XEN_NETIF_CTRL_HASH_TYPE_IPV6), 0x2cc18cd5);
	/* A key of no bytes makes every hash 0, and a short one is followed by zeros. */
	assert_int_equal(ask(XEN_NETIF_CTRL_TYPE_SET_HASH_KEY, 0, 0, 0, NULL), OK);
	assert_int_equal(received_hash(len, _XEN_NETIF_CTRL_HASH_TYPE_IPV6), 0);
	/* Off again. */
	assert_int_equal(ask(XEN_NETIF_CTRL_TYPE_SET_HASH_ALGORITHM, 0, 0, 0, NULL), OK);
	received_hash(len, -1);
}

static void keys_that_are_refused(void **state)
{
	set_key();
	assert_int_equal(ask(XEN_NETIF_CTRL_TYPE_SET_HASH_KEY, rig.refs[LIST], 41, 0, NULL),
			 OVERFLOW);
	assert_int_equal(
	    ask(XEN_NETIF_CTRL_TYPE_SET_HASH_KEY, rig.refs[LIST], 0xffffffffu, 0, NULL), OVERFLOW);
	assert_int_equal(ask(XEN_NETIF_CTRL_TYPE_SET_HASH_KEY, 0xfffffffu, 40, 0, NULL), INVALID);
	assert_int_equal(ask(XEN_NETIF_CTRL_TYPE_SET_HASH_ALGORITHM, 2, 0, 0, NULL), INVALID);
	/* The old one is still in force. */
	assert_int_equal(ask(XEN_NETIF_CTRL_TYPE_SET_HASH_FLAGS, 15, 0, 0, NULL), OK);
	assert_int_equal(received_hash(published_packet(true), _XEN_NETIF_CTRL_HASH_TYPE_IPV4_TCP),
			 0x51ccc178);
}

static unsigned pick(unsigned len)
{
	struct rte_mbuf *m = rig_packet(frame, len, len);
	unsigned queue = sr_netif_pick_queue(rig.netif, m);

	rte_pktmbuf_free(m);
	return queue;
}

static void mapping_to_queues(void **state)
{
	uint32_t *entries = (uint32_t *)(void *)(rig.pages + LIST * SR_PAGE_SIZE);
	unsigned len = published_packet(true);
	uint32_t data, ref = rig.refs[LIST];

	/* Without the guest's hash any will do, as long as it is always the same. */
	assert_int_equal(pick(len), pick(len));
	assert_true(pick(len) < RIG_QUEUES);
	set_key();
	assert_int_equal(ask(XEN_NETIF_CTRL_TYPE_SET_HASH_FLAGS, 15, 0, 0, NULL), OK);
	assert_int_equal(pick(len), 0x51ccc178 % RIG_QUEUES);
	assert_int_equal(ask(XEN_NETIF_CTRL_TYPE_GET_HASH_MAPPING_SIZE, 0, 0, 0, &data), OK);
	assert_int_equal(data, 128);
	assert_int_equal(ask(XEN_NETIF_CTRL_TYPE_SET_HASH_MAPPING_SIZE, 129, 0, 0, NULL), INVALID);
	assert_int_equal(ask(XEN_NETIF_CTRL_TYPE_SET_HASH_MAPPING_SIZE, 128, 0, 0, NULL), OK);
	assert_int_equal(pick(len), 0);
	for (unsigned i = 0; i < 128; i++)
		entries[i] = i % RIG_QUEUES;
	assert_int_equal(ask(XEN_NETIF_CTRL_TYPE_SET_HASH_MAPPING, ref, 128, 0, NULL), OK);
	assert_int_equal(pick(len), 0x51ccc178 % 128 % RIG_QUEUES);
	/* A part of it: where our packet's hash points. */
	entries[0] = 3;
	assert_int_equal(ask(XEN_NETIF_CTRL_TYPE_SET_HASH_MAPPING, ref, 1, 0x51ccc178 % 128, NULL),
			 OK);
	assert_int_equal(pick(len), 3);
	/* Beyond the table, in each way, and a queue that isn't there: nothing changes. */
	assert_int_equal(ask(XEN_NETIF_CTRL_TYPE_SET_HASH_MAPPING, ref, 1, 128, NULL), INVALID);
	assert_int_equal(ask(XEN_NETIF_CTRL_TYPE_SET_HASH_MAPPING, ref, 1, 0xffffffffu, NULL),
			 INVALID);
	assert_int_equal(ask(XEN_NETIF_CTRL_TYPE_SET_HASH_MAPPING, ref, 0xffffffffu, 1, NULL),
			 OVERFLOW);
	assert_int_equal(ask(XEN_NETIF_CTRL_TYPE_SET_HASH_MAPPING, ref, 128, 1, NULL), INVALID);
	assert_int_equal(ask(XEN_NETIF_CTRL_TYPE_SET_HASH_MAPPING, 0xfffffffu, 1, 0, NULL),
			 INVALID);
	entries[120] = RIG_QUEUES;
	assert_int_equal(ask(XEN_NETIF_CTRL_TYPE_SET_HASH_MAPPING, ref, 128, 0, NULL), INVALID);
	assert_int_equal(pick(len), 3);
	/* All of it outlives the backend. */
	rig_resume(&options);
	assert_int_equal(pick(len), 3);
}

static void messages_that_nobody_knows(void **state)
{
	static const uint16_t types[] = { 0, 11, 12, 0xffff };

	for (unsigned i = 0; i < sizeof(types) / sizeof(types[0]); i++)
		assert_int_equal(ask(types[i], 1, 2, 3, NULL), UNKNOWN);
}

static void impossible_index(void **state)
{
	struct sr_ring_indices *shared = (struct sr_ring_indices *)(void *)rig.ctrl_page;

	shared->req_prod = 129;
	assert_int_equal(sr_netif_ctrl_poll(rig.netif), -EPROTO);
	assert_false(sr_netif_ctrl_arm(rig.netif));
}

/* Many at once: they are done a few a call, each is answered. */
static void a_flood_of_messages(void **state)
{
	struct xen_netif_ctrl_request req = { .type = XEN_NETIF_CTRL_TYPE_GET_HASH_MAPPING_SIZE };
	unsigned calls = 0;

	for (unsigned i = 0; i < 128; i++)
		sr_netif_ctrl_front_put(&rig.ctrl, &req);
	sr_ring_front_publish(&rig.ctrl.ring);
	while (sr_netif_ctrl_arm(rig.netif)) {
		assert_true(sr_netif_ctrl_poll(rig.netif) > 0);
		calls++;
	}
	assert_int_equal(sr_ring_front_pending(&rig.ctrl.ring), 128);
	assert_true(calls >= 8);
}

/* --- static mappings ----------------------------------------------------------------------------
 */

static struct xen_netif_gref *list(void)
{
	return (struct xen_netif_gref *)(void *)(rig.pages + LIST * SR_PAGE_SIZE);
}

static uint32_t add(unsigned queue, unsigned count)
{
	return ask(XEN_NETIF_CTRL_TYPE_ADD_GREF_MAPPING, queue, rig.refs[LIST], count, NULL);
}

static uint32_t del(unsigned count, uint32_t *done)
{
	return ask(XEN_NETIF_CTRL_TYPE_DEL_GREF_MAPPING, 0, rig.refs[LIST], count, done);
}

static void list_pages(unsigned first, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		list()[i] = (struct xen_netif_gref){ .ref = rig.refs[first + i], .status = 0xaaaa };
}

/* Both directions, and nothing is copied by grant. */
static void traffic(unsigned page, bool mapped)
{
	const struct sr_net_stats *s = sr_netq_stats(rig.q);
	uint64_t copies = s->tx.copies + s->rx.copies, maps = s->tx.mapped + s->rx.mapped;
	struct rte_mbuf *m;

	for (unsigned i = 0; i < sizeof(frame); i++)
		frame[i] = (uint8_t)(i * 5 + page);
	memcpy(rig.pages + page * SR_PAGE_SIZE + 1000, frame, 2500);
	rig_tx(page, 1000, 0, 1, 2500);
	rig_tx_publish();
	assert_int_equal(rig_receive(&m, 1), 1);
	rig_check_bytes(m, frame, 2500);
	assert_int_equal(rig_tx_all(NETIF_RSP_OKAY), 1);
	memset(rig.pages + page * SR_PAGE_SIZE, RIG_STALE, SR_PAGE_SIZE);
	rig_post(page, 1);
	assert_int_equal(rig_give(m), 1);
	assert_true(rig_take(&got));
	assert_int_equal(got.len, 2500);
	assert_memory_equal(got.bytes, frame, 2500);
	if (mapped) {
		assert_int_equal(s->tx.copies + s->rx.copies, copies);
		assert_true(s->tx.mapped + s->rx.mapped > maps);
	} else {
		assert_int_equal(s->tx.mapped + s->rx.mapped, maps);
	}
}

static void mapped_once(void **state)
{
	uint32_t data;

	assert_int_equal(ask(XEN_NETIF_CTRL_TYPE_GET_GREF_MAPPING_SIZE, 0, 0, 0, &data), OK);
	assert_int_equal(data, SR_NET_GREFS);
	assert_int_equal(ask(XEN_NETIF_CTRL_TYPE_GET_GREF_MAPPING_SIZE, RIG_QUEUES, 0, 0, &data),
			 INVALID);
	traffic(0, false);
	list_pages(0, 300);
	assert_int_equal(add(0, 300), OK);
	for (unsigned i = 0; i < 300; i += 37)
		traffic(i, true);
	traffic(300, false);
	/* Bounds hold there too. */
	rig_tx(0, 4000, 0, 1, 97);
	rig_tx_publish();
	{
		struct rte_mbuf *m;

		assert_int_equal(rig_receive(&m, 1), 0);
	}
	rig_tx_all(NETIF_RSP_ERROR);
	/* Some go; others that were never there are told so. */
	list_pages(100, 10);
	list()[3].ref = 0xfffffff;
	assert_int_equal(del(10, &data), OK);
	assert_int_equal(data, 9);
	for (unsigned i = 0; i < 10; i++)
		assert_int_equal(list()[i].status, i == 3 ? INVALID : OK);
	traffic(100, false);
	traffic(103, true);
	list_pages(100, 1);
	assert_int_equal(del(1, &data), OK);
	assert_int_equal(data, 0);
	list_pages(100, 1);
	assert_int_equal(add(0, 1), OK);
	traffic(100, true);
}

static void all_or_nothing(void **state)
{
	list_pages(0, 20);
	list()[19].ref = 0xfffffff;
	assert_int_equal(add(0, 20), INVALID);
	traffic(0, false);
	list_pages(0, 20);
	list()[4].flags = 2;
	assert_int_equal(add(0, 20), INVALID);
	traffic(0, false);
	/* The same again is no mistake, the same in another way is. */
	list_pages(0, 20);
	assert_int_equal(add(0, 20), OK);
	assert_int_equal(add(0, 20), OK);
	traffic(0, true);
	list()[7].flags = XEN_NETIF_CTRLF_GREF_readonly;
	assert_int_equal(add(0, 20), INVALID);
	traffic(0, true);
	/* Who is not there, lists that can't be read or don't fit. */
	assert_int_equal(add(RIG_QUEUES, 1), INVALID);
	assert_int_equal(add(1, 1), INVALID);
	assert_int_equal(add(0, 513), OVERFLOW);
	assert_int_equal(add(0, 0xffffffffu), OVERFLOW);
	assert_int_equal(ask(XEN_NETIF_CTRL_TYPE_ADD_GREF_MAPPING, 0, 0xfffffff, 1, NULL), INVALID);
	assert_int_equal(ask(XEN_NETIF_CTRL_TYPE_DEL_GREF_MAPPING, 0, 0xfffffff, 1, NULL), INVALID);
}

/* To be read only: the guest may send from it, and gets an error where it wants to receive. */
static void read_only(void **state)
{
	struct netif_tx_request req = { rig.read_only_ref, 0, 0, 7, 60 };
	struct rte_mbuf *m;

	list()[0] = (struct xen_netif_gref){ .ref = rig.read_only_ref };
	assert_int_equal(add(0, 1), INVALID);
	list()[0].flags = XEN_NETIF_CTRLF_GREF_readonly;
	assert_int_equal(add(0, 1), OK);
	sr_netif_tx_front_put(&rig.tx, &req);
	rig_tx_publish();
	assert_int_equal(rig_receive(&m, 1), 1);
	assert_int_equal(sr_netq_stats(rig.q)->tx.mapped, 1);
	rig_tx_all(NETIF_RSP_OKAY);
	sr_netif_rx_front_put(&rig.rx, 0, rig.read_only_ref);
	sr_ring_front_publish(&rig.rx.ring);
	assert_int_equal(rig_give(m), 1);
	assert_true(rig_take(&got));
	assert_int_equal(got.status, NETIF_RSP_ERROR);
	assert_int_equal(rig_rx_drops(SR_NET_DROP_GRANT), 1);
}

/* A guest that leaves while its list is being worked on: nobody is woken who isn't there. */
static void detached_over_a_list(void **state)
{
	const struct xen_netif_ctrl_request req = { ++next_id,
						    XEN_NETIF_CTRL_TYPE_ADD_GREF_MAPPING,
						    { 0, rig.refs[LIST], 300 } };

	list_pages(0, 300);
	sr_netif_ctrl_front_put(&rig.ctrl, &req);
	sr_ring_front_publish(&rig.ctrl.ring);
	assert_int_equal(sr_netif_ctrl_poll(rig.netif), 1);
	assert_true(sr_netq_arm_receive(rig.q));
	rig_detach();
	assert_int_equal(rig.ctrl_wakes, 0);
}

static void they_outlive_the_backend(void **state)
{
	list_pages(0, 100);
	assert_int_equal(add(0, 100), OK);
	traffic(42, true);
	rig_resume(&options);
	traffic(43, true);
	/* A new connection has none of it. */
	rig_disconnect();
	rig_connect(&options);
	traffic(42, false);
}

int main(void)
{
#define CTRL_TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, rig_teardown)
	const struct CMUnitTest tests[] = {
		CTRL_TEST(hash_as_published),
		CTRL_TEST(keys_that_are_refused),
		CTRL_TEST(mapping_to_queues),
		CTRL_TEST(messages_that_nobody_knows),
		CTRL_TEST(impossible_index),
		CTRL_TEST(a_flood_of_messages),
		CTRL_TEST(mapped_once),
		CTRL_TEST(all_or_nothing),
		CTRL_TEST(read_only),
		CTRL_TEST(they_outlive_the_backend),
		CTRL_TEST(detached_over_a_list),
	};

	return cmocka_run_group_tests(tests, rig_group_setup, rig_group_teardown);
}
