/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <blkfront/vdev.h>

#include <errno.h>
#include <string.h>

static const struct {
	const char *name;
	uint32_t number;
} good[] = {
	{ "xvda", 51712 },         { "xvda1", 51713 },       { "xvdp15", 51967 },
	{ "xvdq", 0x10001000 },    { "xvda16", 0x10000010 }, { "xvdaa", 0x10001a00 },
	{ "xvda255", 0x100000ff }, { "sda", 2048 },          { "sda1", 2049 },
	{ "sdp15", 2303 },         { "hda", 768 },           { "hdb2", 834 },
	{ "hdc", 5632 },           { "hdd63", 5759 },        { "hda63", 831 },
};

static const struct {
	const char *name;
	uint32_t number;
} same[] = {
	{ "d0p0", 51712 },
	{ "d0p1", 51713 },
	{ "d16p0", 0x10001000 },
	{ "51712", 51712 },
	{ "0xca00", 51712 },
	{ "0145000", 51712 },
	{ "0", 0 },
	{ "d1048575p255", 0x1fffffff },
};

static const char *const bad[] = {
	"",
	"xvd",
	"xvda0",
	"xvda256",
	"xvda01",
	"xvdA",
	"xvda1x",
	"xvda-1",
	"sda16",
	"sdq",
	"hde",
	"hda64",
	"hd",
	"sd",
	"d",
	"d1",
	"d1p",
	"dp1",
	"d1p256",
	"d01p0",
	"d1048576p0",
	"d0p0x",
	"vda",
	" xvda",
	"xvda ",
	"0x",
	"12k",
	"-1",
	"536870912",
	"99999999999999999999",
	"xvdzzzzzzzz",
};

static void test_good(void **state)
{
	for (size_t i = 0; i < sizeof(good) / sizeof(*good); i++) {
		uint32_t number = 0;
		char name[32];

		assert_int_equal(sr_vdev_parse(good[i].name, &number), 0);
		assert_int_equal(number, good[i].number);
		sr_vdev_name(number, name, sizeof(name));
		assert_string_equal(name, good[i].name);
	}
}

static void test_same(void **state)
{
	for (size_t i = 0; i < sizeof(same) / sizeof(*same); i++) {
		uint32_t number = 0;

		assert_int_equal(sr_vdev_parse(same[i].name, &number), 0);
		assert_int_equal(number, same[i].number);
	}
}

static void test_bad(void **state)
{
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		uint32_t number = 7;

		assert_int_equal(sr_vdev_parse(bad[i], &number), -EINVAL);
		assert_int_equal(number, 7);
	}
}

/* Each name that we make is read back as the number that it was made of. */
static void test_round(void **state)
{
	for (uint32_t disk = 0; disk < 1u << 20; disk += disk < 2000 ? 1 : 997) {
		for (uint32_t partition = 0; partition < 256; partition += 17) {
			uint32_t number = 1u << 28 | disk << 8 | partition, back = 0;
			char name[32];

			sr_vdev_name(number, name, sizeof(name));
			assert_int_equal(sr_vdev_parse(name, &back), 0);
			if (disk >= 16 || partition >= 16)
				assert_int_equal(back, number);
		}
	}
}

static void test_unnamed(void **state)
{
	char name[32];

	sr_vdev_name(1, name, sizeof(name));
	assert_string_equal(name, "1");
	sr_vdev_name(0xffffffff, name, sizeof(name));
	assert_string_equal(name, "4294967295");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_good),    cmocka_unit_test(test_same),
		cmocka_unit_test(test_bad),     cmocka_unit_test(test_round),
		cmocka_unit_test(test_unnamed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
