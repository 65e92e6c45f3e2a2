/* SPDX-License-Identifier: MIT */
/* Log, statistics, clock, and numbers from the store. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include <common/clock.h>
#include <common/log.h>
#include <common/reactor.h>
#include <common/stats.h>
#include <common/xs.h>

static size_t read_all(int fd, char *text, size_t size)
{
	ssize_t n = read(fd, text, size - 1);

	assert_true(n >= 0);
	text[n] = 0;
	return (size_t)n;
}

static void test_log(void **state)
{
	struct sr_log log = { .level = SR_LOG_INFO };
	struct sr_log_source src;
	char text[4096], *line;
	int pipes[2];

	assert_int_equal(pipe(pipes), 0);
	log.fd = pipes[1];
	sr_log_source_init(&src, &log, "vbd-7-51712");
	sr_log(&src, SR_LOG_DEBUG, "not this");
	sr_log(&src, SR_LOG_INFO, "forged\nerror: other: \x1b[2J%d", 7);
	read_all(pipes[0], text, sizeof(text));
	assert_string_equal(text, "info: vbd-7-51712: forged?error: other: ?[2J7\n");
	/* A long line is cut, and still one line. */
	sr_log(&src, SR_LOG_ERROR, "%0800d", 1);
	assert_int_equal(read_all(pipes[0], text, sizeof(text)), 512);
	line = strchr(text, '\n');
	assert_ptr_equal(line, text + 511);
	log.timestamps = true;
	sr_log(&src, SR_LOG_WARNING, "when");
	read_all(pipes[0], text, sizeof(text));
	assert_int_equal(text[10], 'T');
	assert_non_null(strstr(text, "Z warning: vbd-7-51712: when\n"));
	src.log = NULL;
	sr_log(&src, SR_LOG_ERROR, "to nobody");
	sr_log_guest(&src, SR_LOG_ERROR, "to nobody");
	close(pipes[0]);
	close(pipes[1]);
}

/* A guest gets its share of the log, and no more. */
static void test_log_limit(void **state)
{
	struct sr_log log = { .level = SR_LOG_INFO };
	struct sr_log_source src;
	char text[4096];
	unsigned lines = 0;
	int pipes[2];

	assert_int_equal(pipe(pipes), 0);
	log.fd = pipes[1];
	sr_log_source_init(&src, &log, "vbd-7-51712");
	for (unsigned i = 0; i < 1000; i++)
		sr_log_guest(&src, SR_LOG_ERROR, "again");
	read_all(pipes[0], text, sizeof(text));
	for (char *p = text; *p; p++)
		lines += *p == '\n';
	/* Two windows, should one have ended meanwhile, and the line that says how many. */
	assert_in_range(lines, SR_LOG_GUEST_BURST, 2 * SR_LOG_GUEST_BURST + 1);
	/* As if the window had passed. */
	src.window -= 11;
	sr_log_guest(&src, SR_LOG_ERROR, "later");
	read_all(pipes[0], text, sizeof(text));
	assert_non_null(strstr(text, "were left out\n"));
	assert_non_null(strstr(text, ": later\n"));
	close(pipes[0]);
	close(pipes[1]);
}

static void test_log_levels(void **state)
{
	enum sr_log_level level;

	assert_int_equal(sr_log_level_parse("debug", &level), 0);
	assert_int_equal(level, SR_LOG_DEBUG);
	assert_int_equal(sr_log_level_parse("loud", &level), -EINVAL);
}

static void test_latency(void **state)
{
	uint64_t latency[SR_LATENCY_BUCKETS] = { 0 }, end = 0;
	unsigned last = 0;

	assert_int_equal(sr_latency_bucket(0), 0);
	assert_int_equal(sr_latency_bucket(255), 0);
	assert_int_equal(sr_latency_bucket(256), 1);
	assert_int_equal(sr_latency_bucket(UINT64_MAX), SR_LATENCY_BUCKETS - 1);
	/* Each value lies in its bucket, and the buckets leave no gap. */
	for (uint64_t ns = 1; ns < (uint64_t)1 << 40; ns += ns / 7 + 1) {
		unsigned b = sr_latency_bucket(ns);

		assert_true(b == last || b == last + 1);
		last = b;
		assert_true(ns < sr_latency_bucket_end(b));
		if (b)
			assert_true(ns >= sr_latency_bucket_end(b - 1));
	}
	for (unsigned b = 0; b < SR_LATENCY_BUCKETS; b++) {
		assert_true(sr_latency_bucket_end(b) > end);
		end = sr_latency_bucket_end(b);
	}
	assert_int_equal(sr_latency_percentile(latency, 50), 0);
	latency[sr_latency_bucket(1000)] = 90;
	latency[sr_latency_bucket(1000000)] = 10;
	assert_in_range(sr_latency_percentile(latency, 50), 1001, 1280);
	assert_in_range(sr_latency_percentile(latency, 90), 1001, 1280);
	assert_in_range(sr_latency_percentile(latency, 99), 1000001, 1310720);
	assert_in_range(sr_latency_percentile(latency, 100), 1000001, 1310720);
}

static void test_stats(void **state)
{
	struct sr_blk_stats sum = { 0 }, one = { 0 };

	sr_stat_add(&one.requests[SR_STAT_READ], 3);
	sr_stat_add(&one.latency[SR_LATENCY_BUCKETS - 1], 2);
	sr_blk_stats_add(&sum, &one);
	sr_blk_stats_add(&sum, &one);
	assert_int_equal(sum.requests[SR_STAT_READ], 6);
	assert_int_equal(sum.latency[SR_LATENCY_BUCKETS - 1], 4);
	for (unsigned i = 0; i < SR_STAT_ERRORS; i++)
		assert_string_not_equal(sr_stat_error_name((enum sr_stat_error)i), "unknown");
	for (unsigned i = 0; i < SR_STAT_OPS; i++)
		assert_string_not_equal(sr_stat_op_name((enum sr_stat_op)i), "unknown");
	assert_string_equal(sr_stat_op_name(SR_STAT_OPS), "unknown");
}

static void test_clock(void **state)
{
	struct sr_clock clock;
	uint64_t a, b;

	sr_clock_init(&clock);
	a = sr_clock_now(&clock);
	do
		b = sr_clock_now(&clock);
	while (b == a);
	assert_true(b > a);
	/* There and back again loses less than one in a thousand. */
	assert_in_range(sr_clock_ns(&clock, sr_clock_ticks(&clock, 1000000000)), 999000000,
			1000000000);
	/* Years do not overflow. */
	assert_true(sr_clock_ns(&clock, UINT64_MAX / 16) > 0);
}

static void test_numbers(void **state)
{
	static const char *const bad[] = { "",
					   "-1",
					   "+1",
					   " 1",
					   "1 ",
					   "0x1",
					   "1.0",
					   "18446744073709551616",
					   "99999999999999999999999" };
	uint64_t v;

	for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(sr_parse_u64(bad[i], UINT64_MAX, &v), -EINVAL);
	assert_int_equal(sr_parse_u64("18446744073709551615", UINT64_MAX, &v), 0);
	assert_true(v == UINT64_MAX);
	assert_int_equal(sr_parse_u64("16", 16, &v), 0);
	assert_int_equal(sr_parse_u64("17", 16, &v), -EINVAL);
	assert_int_equal(v, 16);
}

/* --- mail ---------------------------------------------------------------------------------------
 */

static unsigned order[3], order_count;

static void note(void *arg)
{
	order[order_count++] = *(unsigned *)arg;
}

static void test_mail(void **state)
{
	unsigned numbers[3] = { 10, 20, 30 };
	struct sr_mail mail[3];
	struct sr_mailbox box;

	assert_int_equal(sr_mailbox_init(&box), 0);
	assert_false(sr_mailbox_has_mail(&box));
	sr_mailbox_run(&box);
	for (unsigned i = 0; i < 3; i++) {
		mail[i] = (struct sr_mail){ .run = note, .arg = &numbers[i] };
		sr_mailbox_post(&box, &mail[i]);
	}
	assert_true(sr_mailbox_has_mail(&box));
	sr_mailbox_run(&box);
	assert_false(sr_mailbox_has_mail(&box));
	assert_int_equal(order_count, 3);
	assert_memory_equal(order, numbers, sizeof(order));
	sr_mailbox_destroy(&box);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_log),        cmocka_unit_test(test_log_limit),
		cmocka_unit_test(test_log_levels), cmocka_unit_test(test_latency),
		cmocka_unit_test(test_stats),      cmocka_unit_test(test_clock),
		cmocka_unit_test(test_numbers),    cmocka_unit_test(test_mail),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
