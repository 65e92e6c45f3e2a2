/* SPDX-License-Identifier: MIT */
/* TCP segmentation in software, over IPv4 and IPv6: DPDK's own does not know the latter. */
#include <errno.h>
#include <net/packet.h>
#include <netinet/in.h>
#include <string.h>

#include <rte_ip.h>
#include <rte_mbuf.h>

#define TCP_FIN 0x01u
#define TCP_PSH 0x08u
#define TCP_CWR 0x80u

/* The packet that is cut. */
struct cut {
	const struct rte_mbuf *pkt;
	struct rte_mempool *pool;
	struct sr_net_headers h;
	uint8_t headers[SR_NET_HEADERS];
	unsigned header_len, payload, size; /* size: payload of a segment */
};

static int begin(struct cut *c, const struct rte_mbuf *pkt, struct rte_mempool *pool)
{
	const void *p;

	c->pkt = pkt;
	c->pool = pool;
	if (sr_net_parse_packet(pkt, &c->h) || !c->h.l4_complete || c->h.protocol != IPPROTO_TCP ||
	    !pkt->tso_segsz)
		return -EBADMSG;
	c->header_len = (unsigned)c->h.l2_len + c->h.l3_len + c->h.l4_len;
	c->payload = (unsigned)c->h.l4_size - c->h.l4_len;
	c->size = pkt->tso_segsz;
	p = rte_pktmbuf_read(pkt, 0, c->header_len, c->headers);
	if (p != c->headers)
		memcpy(c->headers, p, c->header_len);
	return 0;
}

static unsigned count(unsigned payload, unsigned size)
{
	return payload ? (payload + size - 1) / size : 1;
}

unsigned sr_net_segments(const struct rte_mbuf *pkt)
{
	struct sr_net_headers h;

	if (sr_net_parse_packet(pkt, &h) || !h.l4_complete || h.protocol != IPPROTO_TCP ||
	    !pkt->tso_segsz)
		return 1;
	return count((unsigned)h.l4_size - h.l4_len, pkt->tso_segsz);
}

/* `len` bytes from `at` of the packet to the end of `to`, in as many mbufs as that takes. */
static int append_payload(const struct cut *c, struct rte_mbuf *to, unsigned at, unsigned len)
{
	const struct rte_mbuf *from = c->pkt;
	struct rte_mbuf *tail = to;

	while (at >= from->data_len) {
		at -= from->data_len;
		from = from->next;
	}
	while (len) {
		unsigned room = rte_pktmbuf_tailroom(tail), n = from->data_len - at;

		if (!n) {
			from = from->next;
			at = 0;
			continue;
		}
		if (!room) {
			tail->next = rte_pktmbuf_alloc(c->pool);
			if (!tail->next)
				return -ENOMEM;
			tail = tail->next;
			to->nb_segs++;
			continue;
		}
		n = n < room ? n : room;
		n = n < len ? n : len;
		memcpy(rte_pktmbuf_mtod_offset(tail, void *, tail->data_len),
		       rte_pktmbuf_mtod_offset(from, const void *, at), n);
		tail->data_len = (uint16_t)(tail->data_len + n);
		to->pkt_len += n;
		at += n;
		len -= n;
	}
	return 0;
}

static void put_be16(uint8_t *p, unsigned v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
}

static unsigned be16(const uint8_t *p)
{
	return (unsigned)p[0] << 8 | p[1];
}

/* The IP header of segment `i`. Returns the sum of its pseudo-header. */
static uint16_t fix_ip(const struct cut *c, uint8_t *ip, unsigned i, unsigned payload)
{
	unsigned l4 = c->h.l4_len + payload;
	struct rte_ipv4_hdr v4;
	struct rte_ipv6_hdr v6;
	uint16_t sum;

	if (c->h.ip == 6) {
		put_be16(ip + 4, c->h.l3_len - 40 + l4);
		memcpy(&v6, ip, sizeof(v6));
		v6.payload_len = rte_cpu_to_be_16((uint16_t)l4);
		v6.proto = IPPROTO_TCP;
		return rte_ipv6_phdr_cksum(&v6, 0);
	}
	put_be16(ip + 2, c->h.l3_len + l4);
	put_be16(ip + 4, be16(ip + 4) + i);
	memset(ip + 10, 0, 2);
	sum = (uint16_t)~rte_raw_cksum(ip, c->h.l3_len);
	memcpy(ip + 10, &sum, 2);
	/* Without options: only addresses, protocol and length count. */
	memcpy(&v4, ip, sizeof(v4));
	v4.version_ihl = 0x45;
	v4.total_length = rte_cpu_to_be_16((uint16_t)(sizeof(v4) + l4));
	return rte_ipv4_phdr_cksum(&v4, 0);
}

static void fix_headers(const struct cut *c, struct rte_mbuf *m, unsigned i, unsigned payload,
			bool last)
{
	unsigned l4 = (unsigned)c->h.l2_len + c->h.l3_len;
	uint8_t *tcp = rte_pktmbuf_mtod_offset(m, uint8_t *, l4);
	uint32_t seq;
	uint16_t sum;

	sum = fix_ip(c, rte_pktmbuf_mtod_offset(m, uint8_t *, c->h.l2_len), i, payload);
	seq = ((uint32_t)be16(tcp + 4) << 16 | be16(tcp + 6)) + i * c->size;
	put_be16(tcp + 4, seq >> 16);
	put_be16(tcp + 6, seq);
	/* The end of the stream and the push belong to the last, the reduced window to the first.
	 */
	if (!last)
		tcp[13] &= (uint8_t) ~(TCP_FIN | TCP_PSH);
	if (i)
		tcp[13] &= (uint8_t)~TCP_CWR;
	memcpy(tcp + 16, &sum, 2);
	sum = (uint16_t)~sr_net_sum(m, l4, c->h.l4_len + payload);
	memcpy(tcp + 16, &sum, 2);
}

static int make(const struct cut *c, unsigned i, unsigned at, unsigned payload, bool last,
		struct rte_mbuf **out)
{
	struct rte_mbuf *m = rte_pktmbuf_alloc(c->pool);
	int rc = 0;

	if (!m)
		return -ENOMEM;
	memcpy(rte_pktmbuf_append(m, (uint16_t)c->header_len), c->headers, c->header_len);
	if (payload)
		rc = append_payload(c, m, c->header_len + at, payload);
	if (rc) {
		rte_pktmbuf_free(m);
		return rc;
	}
	fix_headers(c, m, i, payload, last);
	m->port = c->pkt->port;
	m->hash = c->pkt->hash;
	m->ol_flags = (c->pkt->ol_flags & RTE_MBUF_F_RX_RSS_HASH) | RTE_MBUF_F_RX_L4_CKSUM_GOOD;
	*out = m;
	return 0;
}

int sr_net_segment(const struct rte_mbuf *pkt, struct rte_mempool *pool, struct rte_mbuf **out,
		   unsigned max)
{
	unsigned n, i;
	struct cut c;
	int rc = begin(&c, pkt, pool);

	if (rc)
		return rc;
	n = count(c.payload, c.size);
	if (n > max)
		return -E2BIG;
	for (i = 0; i < n && !rc; i++) {
		unsigned at = i * c.size;
		unsigned payload = c.payload - at < c.size ? c.payload - at : c.size;

		rc = make(&c, i, at, payload, i + 1 == n, &out[i]);
	}
	if (!rc)
		return (int)n;
	rte_pktmbuf_free_bulk(out, i - 1);
	return rc;
}
