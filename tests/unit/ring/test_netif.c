/* SPDX-License-Identifier: MIT */
/* The rings of a vif: what lies where, as Xen's own structures say it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include <ring/netif.h>

#define PAGE 4096u

static union {
	uint8_t bytes[PAGE];
	struct netif_tx_sring tx;
	struct netif_rx_sring rx;
	struct xen_netif_ctrl_sring ctrl;
} page __attribute__((aligned(PAGE)));

/* Xen declares an array of one slot; these are the slots behind it too. */
static union netif_tx_sring_entry *const tx_ring = page.tx.ring;
static union netif_rx_sring_entry *const rx_ring = page.rx.ring;
static union xen_netif_ctrl_sring_entry *const ctrl_ring = page.ctrl.ring;

static int setup(void **state)
{
	memset(&page, 0x5a, sizeof(page));
	return 0;
}

static void sizes_are_xens(void **state)
{
	assert_int_equal(SR_NETIF_TX_SLOTS, __CONST_RING_SIZE(netif_tx, PAGE));
	assert_int_equal(SR_NETIF_RX_SLOTS, __CONST_RING_SIZE(netif_rx, PAGE));
	assert_int_equal(SR_NETIF_CTRL_SLOTS, __CONST_RING_SIZE(xen_netif_ctrl, PAGE));
}

/* Nothing of the slot that is not said: a request is followed by what was there before it. */
static void front_writes_what_xen_reads(void **state)
{
	const struct netif_tx_request tx = { 0xa1b2c3d4u, 0x123, 0xf00d, 0xbeef, 0xfedc };
	const struct xen_netif_ctrl_request ctrl = { 7, 9, { 1, 0xffffffffu, 3 } };
	struct netif_extra_info extra = { .type = XEN_NETIF_EXTRA_TYPE_GSO, .flags = 1 };
	struct sr_netif_front f;

	extra.u.gso.size = 1448;
	extra.u.gso.type = XEN_NETIF_GSO_TYPE_TCPV6;
	sr_netif_tx_front_init(&f, &page);
	sr_netif_tx_front_put(&f, &tx);
	sr_netif_tx_front_put_extra(&f, &extra);
	assert_memory_equal(&tx_ring[0].req, &tx, sizeof(tx));
	assert_memory_equal(&tx_ring[1], &extra, sizeof(extra));
	assert_int_equal(page.bytes[64 + 12 + 8] | page.bytes[64 + 12 + 11], 0);
	assert_int_equal(page.tx.req_prod, 0);
	assert_true(sr_ring_front_publish_and_check(&f.ring));
	assert_int_equal(page.tx.req_prod, 2);

	sr_netif_rx_front_init(&f, &page);
	sr_netif_rx_front_put(&f, 0xfffe, 0x87654321u);
	assert_int_equal(rx_ring[0].req.id, 0xfffe);
	assert_int_equal(rx_ring[0].req.pad, 0);
	assert_int_equal(rx_ring[0].req.gref, 0x87654321u);

	sr_netif_ctrl_front_init(&f, &page);
	sr_netif_ctrl_front_put(&f, &ctrl);
	assert_memory_equal(&ctrl_ring[0].req, &ctrl, sizeof(ctrl));
}

static void back_reads_what_xen_writes(void **state)
{
	const struct netif_tx_request tx = { 0xffffffffu, 0xffff, 0x8001, 0x7fff, 0xffff };
	const struct xen_netif_ctrl_request ctrl = { 0xffff, 0x1234, { 5, 6, 0x80000000u } };
	struct netif_extra_info extra = { .type = 0xff, .flags = 0xfe }, got_extra;
	struct xen_netif_ctrl_request got_ctrl;
	struct netif_rx_request got_rx;
	struct netif_tx_request got_tx;
	struct sr_netif_back b;

	memcpy(extra.u.mcast.addr, "\x01\x00\x5e\x7f\xff\xfa", 6);
	assert_int_equal(sr_netif_tx_back_attach(&b, &page, 0, 0), 0);
	memcpy(&tx_ring[0].req, &tx, sizeof(tx));
	memcpy(&tx_ring[1], &extra, sizeof(extra));
	sr_netif_tx_back_take(&b, &got_tx);
	sr_netif_tx_back_take_extra(&b, &got_extra);
	assert_memory_equal(&got_tx, &tx, sizeof(tx));
	assert_memory_equal(&got_extra, &extra, sizeof(extra));
	assert_int_equal(b.ring.req_cons, 2);

	assert_int_equal(sr_netif_rx_back_attach(&b, &page, 10, 10), 0);
	rx_ring[10].req.id = 0xabcd;
	rx_ring[10].req.pad = 0xffff;
	rx_ring[10].req.gref = 0xdeadbeefu;
	sr_netif_rx_back_take(&b, &got_rx);
	assert_int_equal(got_rx.id, 0xabcd);
	assert_int_equal(got_rx.pad, 0);
	assert_int_equal(got_rx.gref, 0xdeadbeefu);

	assert_int_equal(sr_netif_ctrl_back_attach(&b, &page, 0, 0), 0);
	memcpy(&ctrl_ring[0].req, &ctrl, sizeof(ctrl));
	sr_netif_ctrl_back_take(&b, &got_ctrl);
	assert_memory_equal(&got_ctrl, &ctrl, sizeof(ctrl));
}

/* The guest's own old bytes go too: nothing of the request shines through. */
static void back_answers_zero_padded(void **state)
{
	const struct netif_rx_response rx = { 3, 256, 0x000f, -1 };
	const struct xen_netif_ctrl_response ctrl = { 1, 2, 3, 0xfffffffeu };
	struct netif_extra_info extra = { .type = XEN_NETIF_EXTRA_TYPE_HASH };
	static const uint8_t zero[8];
	struct sr_netif_back b;

	assert_int_equal(sr_netif_tx_back_attach(&b, &page, 255, 257), 0);
	sr_netif_tx_back_put(&b, 0x1234, NETIF_RSP_ERROR);
	sr_netif_tx_back_put(&b, 0, NETIF_RSP_NULL);
	assert_int_equal(tx_ring[255].rsp.id, 0x1234);
	assert_int_equal(tx_ring[255].rsp.status, NETIF_RSP_ERROR);
	assert_memory_equal(page.bytes + 64 + 255 * 12 + 4, zero, 8);
	assert_int_equal(tx_ring[0].rsp.status, NETIF_RSP_NULL);

	assert_int_equal(sr_netif_rx_back_attach(&b, &page, 0, 2), 0);
	memset(&extra.u, 0xc3, sizeof(extra.u));
	sr_netif_rx_back_put(&b, &rx);
	sr_netif_rx_back_put_extra(&b, &extra);
	assert_memory_equal(&rx_ring[0].rsp, &rx, sizeof(rx));
	assert_memory_equal(&rx_ring[1], &extra, sizeof(extra));

	assert_int_equal(sr_netif_ctrl_back_attach(&b, &page, 0, 1), 0);
	sr_netif_ctrl_back_put(&b, &ctrl);
	assert_memory_equal(&ctrl_ring[0].rsp, &ctrl, sizeof(ctrl));
	assert_memory_equal(page.bytes + 64 + 12, zero, 4);
}

static void front_takes_what_the_back_put(void **state)
{
	const struct netif_rx_response rx = { 200, 4000, 0x8000, 96 };
	const struct xen_netif_ctrl_response ctrl = { 9, 8, 7, 6 };
	struct netif_extra_info extra = { .type = 4,
					  .flags = 1,
					  .u.hash = { 1, 1, { 4, 3, 2, 1 } } };
	struct xen_netif_ctrl_response got_ctrl;
	struct netif_extra_info got_extra;
	struct netif_tx_response got_tx;
	struct netif_rx_response got_rx;
	struct sr_netif_front f;
	struct sr_netif_back b;

	sr_netif_tx_front_init(&f, &page);
	assert_int_equal(sr_netif_tx_back_attach(&b, &page, 0, 1), 0);
	sr_netif_tx_back_put(&b, 77, NETIF_RSP_DROPPED);
	sr_netif_tx_front_take(&f, &got_tx);
	assert_int_equal(got_tx.id, 77);
	assert_int_equal(got_tx.status, NETIF_RSP_DROPPED);

	sr_netif_rx_front_init(&f, &page);
	assert_int_equal(sr_netif_rx_back_attach(&b, &page, 0, 2), 0);
	sr_netif_rx_back_put(&b, &rx);
	sr_netif_rx_back_put_extra(&b, &extra);
	sr_netif_rx_front_take(&f, &got_rx);
	sr_netif_rx_front_take_extra(&f, &got_extra);
	assert_memory_equal(&got_rx, &rx, sizeof(rx));
	assert_memory_equal(&got_extra, &extra, sizeof(extra));

	sr_netif_ctrl_front_init(&f, &page);
	assert_int_equal(sr_netif_ctrl_back_attach(&b, &page, 0, 1), 0);
	sr_netif_ctrl_back_put(&b, &ctrl);
	sr_netif_ctrl_front_take(&f, &got_ctrl);
	assert_memory_equal(&got_ctrl, &ctrl, sizeof(ctrl));
}

/* Every slot is where Xen's array has it, through the wrap of the index. */
static void slots_wrap(void **state)
{
	struct netif_tx_request tx = { 0 };
	struct sr_netif_front f;

	sr_netif_tx_front_init(&f, &page);
	f.ring.req_prod_pvt = f.ring.rsp_cons = UINT32_MAX - 127;
	for (unsigned i = 0; i < SR_NETIF_TX_SLOTS; i++) {
		tx.id = (uint16_t)i;
		assert_int_equal(sr_ring_front_free(&f.ring), SR_NETIF_TX_SLOTS - i);
		sr_netif_tx_front_put(&f, &tx);
		assert_int_equal(tx_ring[(i + 128) % 256].req.id, i);
	}
	assert_int_equal(sr_ring_front_free(&f.ring), 0);
}

static void impossible_positions(void **state)
{
	struct sr_netif_back b;

	assert_int_equal(sr_netif_tx_back_attach(&b, &page, 0, 257), -EINVAL);
	assert_int_equal(sr_netif_rx_back_attach(&b, &page, 1, 0), -EINVAL);
	assert_int_equal(sr_netif_ctrl_back_attach(&b, &page, 0, 129), -EINVAL);
	assert_int_equal(sr_netif_ctrl_back_attach(&b, &page, 5, 5), 0);
	page.ctrl.req_prod = 5 + 129;
	assert_int_equal(sr_ring_back_pending(&b.ring), -EPROTO);
	page.ctrl.req_prod = 4;
	assert_int_equal(sr_ring_back_pending(&b.ring), -EPROTO);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(sizes_are_xens, setup),
		cmocka_unit_test_setup(front_writes_what_xen_reads, setup),
		cmocka_unit_test_setup(back_reads_what_xen_writes, setup),
		cmocka_unit_test_setup(back_answers_zero_padded, setup),
		cmocka_unit_test_setup(front_takes_what_the_back_put, setup),
		cmocka_unit_test_setup(slots_wrap, setup),
		cmocka_unit_test_setup(impossible_positions, setup),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
