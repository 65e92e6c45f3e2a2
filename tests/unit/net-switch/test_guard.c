/* SPDX-License-Identifier: MIT */
/* Anti-spoofing over IPv6: whatever stands before it, an advertisement is found and looked at. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>
#include <netinet/in.h>

#include "guard.h"

#define ECHO   128u
#define ADVERT 136u
#define LATER  8u /* an offset */

static const struct sr_member_address own = { true, { 0xfd, [15] = 1 } };
static const uint8_t link_local[16] = { 0xfe, 0x80, [15] = 1 };
static const uint8_t nobody[16];

static uint8_t frame[512];
static size_t len;
static uint8_t *next; /* where the type of the next header belongs */

static void begin(const uint8_t source[16])
{
	memset(frame, 0, sizeof(frame));
	frame[12] = 0x86;
	frame[13] = 0xdd;
	frame[14] = 0x60;
	memcpy(frame + 14 + 8, source, 16);
	next = frame + 14 + 6;
	len = 14 + 40;
}

static uint8_t *header(uint8_t type, size_t size)
{
	uint8_t *p = frame + len;

	*next = type;
	next = p;
	len += size;
	return p;
}

static void extension(uint8_t type, unsigned words)
{
	header(type, type == IPPROTO_AH ? (words + 2) * 4 : (words + 1) * 8)[1] = (uint8_t)words;
}

static void fragment(unsigned offset)
{
	header(IPPROTO_FRAGMENT, 8)[3] = (uint8_t)offset;
}

/* An advertisement for an address whose last byte is `target`, or another message. */
static void icmp(uint8_t type, uint8_t target)
{
	uint8_t *p = header(IPPROTO_ICMPV6, 24);

	p[0] = type;
	p[8] = 0xfd;
	p[23] = target;
}

static bool allowed(void)
{
	return sr_guard_allows(&own, 1, frame, len);
}

static void advertisements(void **state)
{
	static const uint8_t types[] = { IPPROTO_HOPOPTS, IPPROTO_DSTOPTS, IPPROTO_ROUTING,
					 IPPROTO_AH, IPPROTO_MH };

	for (uint8_t target = 1; target <= 2; target++)
		for (unsigned first = 0; first < sizeof(types); first++)
			for (unsigned second = 0; second < sizeof(types); second++) {
				begin(link_local);
				icmp(ADVERT, target);
				assert_int_equal(allowed(), target == 1);
				begin(own.bytes);
				extension(types[first], 1);
				icmp(ADVERT, target);
				assert_int_equal(allowed(), target == 1);
				begin(own.bytes);
				extension(types[first], 0);
				extension(types[second], 3);
				extension(IPPROTO_DSTOPTS, 0);
				icmp(ADVERT, target);
				assert_int_equal(allowed(), target == 1);
			}
}

/* What can't be seen may be anything. */
static void out_of_sight(void **state)
{
	begin(own.bytes);
	fragment(0);
	icmp(ADVERT, 1);
	assert_false(allowed());
	begin(own.bytes);
	extension(IPPROTO_DSTOPTS, 0);
	fragment(0);
	extension(IPPROTO_DSTOPTS, 0);
	icmp(ADVERT, 2);
	assert_false(allowed());
	begin(own.bytes);
	fragment(LATER);
	icmp(ECHO, 0);
	assert_false(allowed());
	begin(own.bytes);
	fragment(LATER);
	extension(IPPROTO_DSTOPTS, 0);
	assert_false(allowed());
	/* Beyond the end of what is there. */
	begin(own.bytes);
	extension(IPPROTO_DSTOPTS, 20);
	len -= 8;
	assert_false(allowed());
	begin(own.bytes);
	extension(IPPROTO_HOPOPTS, 0);
	len -= 7;
	assert_false(allowed());
	begin(own.bytes);
	for (unsigned i = 0; i < 20; i++)
		extension(IPPROTO_DSTOPTS, 0);
	header(IPPROTO_UDP, 8);
	assert_false(allowed());
}

static void what_is_needed(void **state)
{
	/* Datagrams, whole and in parts, with options and without. */
	begin(own.bytes);
	extension(IPPROTO_HOPOPTS, 0);
	extension(IPPROTO_DSTOPTS, 2);
	header(IPPROTO_UDP, 8);
	assert_true(allowed());
	begin(own.bytes);
	fragment(0);
	header(IPPROTO_UDP, 8);
	assert_true(allowed());
	begin(own.bytes);
	fragment(LATER);
	header(IPPROTO_UDP, 8);
	assert_true(allowed());
	begin(own.bytes);
	extension(IPPROTO_DSTOPTS, 0);
	header(IPPROTO_NONE, 0);
	assert_true(allowed());
	begin(own.bytes);
	icmp(ECHO, 0);
	assert_true(allowed());
	/* Without an address: a report of groups, and nothing else behind the router alert. */
	begin(nobody);
	extension(IPPROTO_HOPOPTS, 0);
	icmp(143, 0);
	assert_true(allowed());
	begin(nobody);
	extension(IPPROTO_HOPOPTS, 0);
	header(IPPROTO_UDP, 8);
	assert_false(allowed());
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(advertisements),
		cmocka_unit_test(out_of_sight),
		cmocka_unit_test(what_is_needed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
