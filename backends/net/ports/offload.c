/* SPDX-License-Identifier: MIT */
#include <ports/offload.h>

#include <errno.h>

#include <rte_ip.h>
#include <rte_mbuf.h>
#include <rte_tcp.h>
#include <rte_udp.h>

/* Ethernet with two tags, IPv6 with extension headers, TCP with options: longer is nobody's. */
#define HEADERS_MAX 320u

#define TCP_FIN_PSH (RTE_TCP_FIN_FLAG | RTE_TCP_PSH_FLAG)

int sr_offload_shared(const struct rte_mbuf *m)
{
	for (; m; m = m->next)
		if (!RTE_MBUF_DIRECT(m) || rte_mbuf_refcnt_read(m) > 1)
			return 1;
	return 0;
}

/* Where the IP datagram ends: a short frame is padded behind it. */
static uint32_t datagram_end(const struct rte_mbuf *m)
{
	struct rte_ipv4_hdr copy4;
	struct rte_ipv6_hdr copy6;
	uint32_t end = 0;

	if (m->ol_flags & RTE_MBUF_F_TX_IPV4) {
		const struct rte_ipv4_hdr *ip =
		    rte_pktmbuf_read(m, m->l2_len, sizeof(copy4), &copy4);

		if (ip)
			end = m->l2_len + rte_be_to_cpu_16(ip->total_length);
	} else {
		const struct rte_ipv6_hdr *ip =
		    rte_pktmbuf_read(m, m->l2_len, sizeof(copy6), &copy6);

		if (ip)
			end = m->l2_len + sizeof(*ip) + rte_be_to_cpu_16(ip->payload_len);
	}
	return end;
}

/* Writes into a chain. The caller has checked that it is inside. */
static void write_be16(struct rte_mbuf *m, uint32_t offset, uint16_t value)
{
	uint8_t bytes[2];

	memcpy(bytes, &value, sizeof(bytes));
	for (unsigned i = 0; i < sizeof(bytes); i++, offset++) {
		while (offset >= m->data_len) {
			offset -= m->data_len;
			m = m->next;
		}
		*rte_pktmbuf_mtod_offset(m, uint8_t *, offset) = bytes[i];
	}
}

/*
 * The sum of [offset, offset + len), which lies inside. Not rte_raw_cksum_mbuf(): DPDK 22.11 loses
 * the carries of a piece that starts at an odd place.
 */
static uint16_t sum_range(const struct rte_mbuf *m, uint32_t offset, uint32_t len)
{
	uint32_t sum = 0, done = 0;

	for (; len; m = m->next, offset = 0) {
		uint32_t piece;
		uint16_t part;

		while (offset >= m->data_len) {
			offset -= m->data_len;
			m = m->next;
		}
		piece = RTE_MIN(len, m->data_len - offset);
		part = rte_raw_cksum(rte_pktmbuf_mtod_offset(m, const void *, offset), piece);
		sum += done & 1 ? rte_bswap16(part) : part;
		done += piece;
		len -= piece;
	}
	sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)((sum & 0xffff) + (sum >> 16));
}

int sr_offload_checksum(struct rte_mbuf *m)
{
	bool udp = (m->ol_flags & RTE_MBUF_F_TX_L4_MASK) == RTE_MBUF_F_TX_UDP_CKSUM;
	uint32_t start = m->l2_len + m->l3_len, end = datagram_end(m);
	uint32_t field = start + (udp ? offsetof(struct rte_udp_hdr, dgram_cksum)
				      : offsetof(struct rte_tcp_hdr, cksum));
	uint16_t sum;

	if (end > m->pkt_len || field + sizeof(sum) > end)
		return -EINVAL;
	/* The pseudo-header's sum stands in the field already, so it is summed up with the rest. */
	sum = (uint16_t)~sum_range(m, start, end - start);
	/* 0 would say of UDP: no checksum. */
	write_be16(m, field, sum == 0 && udp ? 0xffff : sum);
	m->ol_flags &= ~RTE_MBUF_F_TX_L4_MASK;
	return 0;
}

/* --- TCP segments ------------------------------------------------------------------------------
 */

struct cut {
	const struct rte_mbuf *from;
	struct rte_mempool *pool;
	uint8_t headers[HEADERS_MAX];
	uint32_t header_len, payload, size;
	bool v4;
};

static int cut_init(struct cut *cut, const struct rte_mbuf *m)
{
	uint32_t end = datagram_end(m);
	const void *headers;

	cut->from = m;
	cut->v4 = m->ol_flags & RTE_MBUF_F_TX_IPV4;
	cut->header_len = m->l2_len + m->l3_len + m->l4_len;
	cut->size = m->tso_segsz;
	if (cut->size == 0 || cut->header_len > HEADERS_MAX ||
	    m->l4_len < sizeof(struct rte_tcp_hdr) ||
	    m->l3_len < (cut->v4 ? sizeof(struct rte_ipv4_hdr) : sizeof(struct rte_ipv6_hdr)))
		return -EINVAL;
	/* IPv4's length field is too short for a large packet of IPv6's: BIG TCP has no use here.
	 */
	if (end > m->pkt_len || end < cut->header_len)
		return -EINVAL;
	headers = rte_pktmbuf_read(m, 0, cut->header_len, cut->headers);
	if (!headers)
		return -EINVAL;
	if (headers != cut->headers)
		memcpy(cut->headers, headers, cut->header_len);
	cut->payload = end - cut->header_len;
	if ((cut->payload + cut->size - 1) / cut->size > SR_OFFLOAD_MAX_SEGMENTS)
		return -E2BIG;
	return 0;
}

/* Appends `len` bytes of the payload at `offset`, with as many mbufs as it takes. */
static int append(struct rte_mbuf *head, const struct cut *cut, uint32_t offset, uint32_t len)
{
	struct rte_mbuf *last = head;

	while (len) {
		uint32_t room = rte_pktmbuf_tailroom(last);
		const void *from;
		uint8_t *to;

		if (room == 0) {
			struct rte_mbuf *more = rte_pktmbuf_alloc(cut->pool);

			if (!more)
				return -ENOMEM;
			last->next = more;
			head->nb_segs++;
			last = more;
			continue;
		}
		if (room > len)
			room = len;
		to = rte_pktmbuf_mtod_offset(last, uint8_t *, last->data_len);
		from = rte_pktmbuf_read(cut->from, offset, room, to);
		if (from != to)
			memcpy(to, from, room);
		last->data_len += room;
		head->pkt_len += room;
		offset += room;
		len -= room;
	}
	return 0;
}

/* The headers of the segment that starts `at` bytes into the payload and has `len` of them. */
static void fix_headers(struct rte_mbuf *seg, const struct cut *cut, unsigned index, uint32_t at,
			uint32_t len)
{
	const struct rte_mbuf *m = cut->from;
	void *l3 = rte_pktmbuf_mtod_offset(seg, void *, m->l2_len);
	struct rte_tcp_hdr *tcp =
	    rte_pktmbuf_mtod_offset(seg, struct rte_tcp_hdr *, m->l2_len + m->l3_len);

	tcp->sent_seq = rte_cpu_to_be_32(rte_be_to_cpu_32(tcp->sent_seq) + at);
	if (at + len < cut->payload)
		tcp->tcp_flags &= (uint8_t)~TCP_FIN_PSH;
	if (index > 0)
		tcp->tcp_flags &= (uint8_t)~RTE_TCP_CWR_FLAG;
	if (cut->v4) {
		struct rte_ipv4_hdr *ip = l3;

		ip->total_length = rte_cpu_to_be_16((uint16_t)(m->l3_len + m->l4_len + len));
		ip->packet_id =
		    rte_cpu_to_be_16((uint16_t)(rte_be_to_cpu_16(ip->packet_id) + index));
		ip->hdr_checksum = 0;
		ip->hdr_checksum = (uint16_t)~rte_raw_cksum(ip, m->l3_len);
		/* Afresh: what the guest wrote is of the whole packet's length. */
		tcp->cksum = rte_ipv4_phdr_cksum(ip, 0);
	} else {
		struct rte_ipv6_hdr *ip = l3, pseudo;

		ip->payload_len =
		    rte_cpu_to_be_16((uint16_t)(m->l3_len - sizeof(*ip) + m->l4_len + len));
		/* Extension headers are not part of the pseudo-header. */
		pseudo = *ip;
		pseudo.proto = IPPROTO_TCP;
		pseudo.payload_len = rte_cpu_to_be_16((uint16_t)(m->l4_len + len));
		tcp->cksum = rte_ipv6_phdr_cksum(&pseudo, 0);
	}
}

static int make_segment(const struct cut *cut, unsigned index, uint32_t at, uint32_t len,
			struct rte_mbuf **out)
{
	const struct rte_mbuf *m = cut->from;
	struct rte_mbuf *seg = rte_pktmbuf_alloc(cut->pool);
	char *headers;

	if (!seg)
		return -ENOMEM;
	headers = rte_pktmbuf_append(seg, (uint16_t)cut->header_len);
	if (!headers || append(seg, cut, cut->header_len + at, len)) {
		rte_pktmbuf_free(seg);
		return -ENOMEM;
	}
	memcpy(headers, cut->headers, cut->header_len);
	fix_headers(seg, cut, index, at, len);
	seg->ol_flags =
	    (m->ol_flags & (RTE_MBUF_F_TX_IPV4 | RTE_MBUF_F_TX_IPV6)) | RTE_MBUF_F_TX_TCP_CKSUM;
	seg->l2_len = m->l2_len;
	seg->l3_len = m->l3_len;
	seg->l4_len = m->l4_len;
	seg->port = m->port;
	*out = seg;
	return 0;
}

int sr_offload_segment(const struct rte_mbuf *m, struct rte_mempool *pool, struct rte_mbuf **out,
		       unsigned *count)
{
	struct cut cut = { .pool = pool };
	int rc = cut_init(&cut, m);
	unsigned n = 0;
	uint32_t at = 0;

	if (rc)
		return rc;
	do {
		uint32_t len = RTE_MIN(cut.size, cut.payload - at);

		rc = make_segment(&cut, n, at, len, &out[n]);
		if (rc) {
			rte_pktmbuf_free_bulk(out, n);
			return rc;
		}
		n++;
		at += len;
	} while (at < cut.payload);
	*count = n;
	return 0;
}
