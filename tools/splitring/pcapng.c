/* SPDX-License-Identifier: MIT */
#include "pcapng.h"

#include <string.h>

/* Block types, and options of each. */
enum {
	SECTION = 0x0a0d0d0a,
	INTERFACE = 1,
	STATISTICS = 5,
	PACKET = 6,

	OPT_END = 0,
	OPT_COMMENT = 1,
	SECTION_APPLICATION = 4,
	INTERFACE_NAME = 2,
	INTERFACE_DESCRIPTION = 3,
	INTERFACE_MAC = 6,
	INTERFACE_RESOLUTION = 9,
	PACKET_FLAGS = 2,
	PACKET_QUEUE = 6,
	STATISTICS_START = 2,
	STATISTICS_END = 3,
	STATISTICS_RECEIVED = 4,
	STATISTICS_DROPPED = 5,
};

#define ETHERNET         1u
#define NANOSECONDS      9u
#define BYTE_ORDER_MAGIC 0x1a2b3c4du

/* A block but for a packet's data: put together here, as its length stands at both ends. */
struct block {
	uint32_t type;
	uint32_t length; /* so far, with type and length */
	uint8_t bytes[1024];
};

static uint32_t padded(uint32_t n)
{
	return (n + 3) & ~3u;
}

static void put(struct block *b, const void *data, uint32_t size)
{
	uint8_t *to = b->bytes + b->length - 8;

	memset(to, 0, padded(size));
	memcpy(to, data, size);
	b->length += padded(size);
}

static void put32(struct block *b, uint32_t value)
{
	put(b, &value, sizeof(value));
}

/* A time is two halves, the high one first, whatever the byte order. */
static void put_time(struct block *b, uint64_t time)
{
	put32(b, (uint32_t)(time >> 32));
	put32(b, (uint32_t)time);
}

static void option(struct block *b, uint16_t code, const void *value, uint32_t size)
{
	const uint16_t head[2] = { code, (uint16_t)size };

	put(b, head, sizeof(head));
	put(b, value, size);
}

static void text_option(struct block *b, uint16_t code, const char *text)
{
	size_t size = strlen(text);

	option(b, code, text, size < 255 ? (uint32_t)size : 255);
}

static void time_option(struct block *b, uint16_t code, uint64_t time)
{
	const uint32_t halves[2] = { (uint32_t)(time >> 32), (uint32_t)time };

	option(b, code, halves, sizeof(halves));
}

static struct block begin(uint32_t type)
{
	return (struct block){ .type = type, .length = 8 };
}

static void write_block(FILE *out, struct block *b)
{
	option(b, OPT_END, "", 0);
	b->length += 4;
	fwrite(b, 8, 1, out);
	fwrite(b->bytes, b->length - 12, 1, out);
	fwrite(&b->length, 4, 1, out);
}

void pcapng_section(FILE *out, const char *application)
{
	const uint16_t version[2] = { 1, 0 };
	struct block b = begin(SECTION);

	put32(&b, BYTE_ORDER_MAGIC);
	put(&b, version, sizeof(version));
	/* How long it will be nobody knows. */
	put32(&b, UINT32_MAX);
	put32(&b, UINT32_MAX);
	text_option(&b, SECTION_APPLICATION, application);
	write_block(out, &b);
}

void pcapng_interface(FILE *out, const char *name, const char *description, const uint8_t mac[6],
		      uint32_t snaplen)
{
	struct block b = begin(INTERFACE);

	put32(&b, ETHERNET);
	put32(&b, snaplen);
	text_option(&b, INTERFACE_NAME, name);
	if (*description)
		text_option(&b, INTERFACE_DESCRIPTION, description);
	if (mac)
		option(&b, INTERFACE_MAC, mac, 6);
	option(&b, INTERFACE_RESOLUTION, (uint8_t[]){ NANOSECONDS }, 1);
	write_block(out, &b);
}

void pcapng_packet(FILE *out, const struct pcapng_packet *p)
{
	static const uint8_t zeroes[4];
	uint32_t flags = p->inbound ? 1 : 2, padding = padded(p->captured) - p->captured;
	struct block head = begin(PACKET), tail = begin(0);
	uint32_t length;

	put32(&head, p->interface);
	put_time(&head, p->time);
	put32(&head, p->captured);
	put32(&head, p->length);
	if (p->comment)
		text_option(&tail, OPT_COMMENT, p->comment);
	option(&tail, PACKET_FLAGS, &flags, sizeof(flags));
	option(&tail, PACKET_QUEUE, &p->queue, sizeof(p->queue));
	option(&tail, OPT_END, "", 0);
	length = head.length + p->captured + padding + tail.length - 8 + 4;
	fwrite(&head.type, 4, 1, out);
	fwrite(&length, 4, 1, out);
	fwrite(head.bytes, head.length - 8, 1, out);
	fwrite(p->data, 1, p->captured, out);
	fwrite(zeroes, 1, padding, out);
	fwrite(tail.bytes, tail.length - 8, 1, out);
	fwrite(&length, 4, 1, out);
}

void pcapng_statistics(FILE *out, uint32_t interface, uint64_t start, uint64_t end,
		       uint64_t received, uint64_t dropped)
{
	struct block b = begin(STATISTICS);

	put32(&b, interface);
	put_time(&b, end);
	time_option(&b, STATISTICS_START, start);
	time_option(&b, STATISTICS_END, end);
	option(&b, STATISTICS_RECEIVED, &received, sizeof(received));
	option(&b, STATISTICS_DROPPED, &dropped, sizeof(dropped));
	write_block(out, &b);
}
