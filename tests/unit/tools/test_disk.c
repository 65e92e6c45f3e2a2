/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <tools/disk.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static void test_keys(void **state)
{
	struct sr_disk disk;
	struct sr_fail f;

	assert_int_equal(sr_disk_parse("format=raw,vdev=xvda,access=rw,target=/img", &disk, &f), 0);
	assert_int_equal(disk.kind, SR_DISK_VBD);
	assert_string_equal(disk.target, "/img");
	assert_string_equal(disk.vdev, "xvda");
	assert_int_equal(disk.number, 51712);
	assert_null(disk.backend);
	assert_true(disk.writable && disk.discard);
	assert_false(disk.cdrom || disk.removable || disk.direct_io_safe);
	sr_disk_free(&disk);
}

static void test_positional(void **state)
{
	struct sr_disk disk;
	struct sr_fail f;

	assert_int_equal(sr_disk_parse("/img,raw,sdb1,r,backendtype=qdisk,backend=dd,no-discard,"
				       "direct-io-safe",
				       &disk, &f),
			 0);
	assert_int_equal(disk.kind, SR_DISK_QDISK);
	assert_string_equal(disk.backend, "dd");
	assert_int_equal(disk.number, 2065);
	assert_false(disk.writable || disk.discard);
	assert_true(disk.direct_io_safe);
	sr_disk_free(&disk);
}

static void test_driver(void **state)
{
	struct sr_disk disk;
	struct sr_fail f;

	assert_int_equal(sr_disk_parse("vdev=xvda,target=null:size=1G,latency=5", &disk, &f), 0);
	assert_string_equal(disk.target, "null:size=1G,latency=5");
	sr_disk_free(&disk);
}

static void test_cdrom(void **state)
{
	struct sr_disk disk;
	struct sr_fail f;

	assert_int_equal(sr_disk_parse("vdev=hdc,devtype=cdrom,access=ro,target=", &disk, &f), 0);
	assert_string_equal(disk.target, "");
	assert_true(disk.cdrom && disk.removable && !disk.writable);
	sr_disk_free(&disk);
}

static void test_relative(void **state)
{
	char cwd[4096], want[4200];
	struct sr_disk disk;
	struct sr_fail f;

	assert_non_null(getcwd(cwd, sizeof(cwd)));
	snprintf(want, sizeof(want), "%s/img", cwd);
	assert_int_equal(sr_disk_parse("img,raw,xvda,w", &disk, &f), 0);
	assert_string_equal(disk.target, want);
	sr_disk_free(&disk);
}

static const struct {
	const char *spec, *line;
} bad[] = {
	{ "/i,qcow2,xvda,w",
	  "disk `/i,qcow2,xvda,w': format=qcow2 is not served; convert the image to raw" },
	{ "/i,raw,xvda,w,backendtype=tap",
	  "disk `/i,raw,xvda,w,backendtype=tap': backendtype=tap is not served; use qdisk or phy" },
	{ "/i,raw,xvda,w,script=block-x",
	  "disk `/i,raw,xvda,w,script=block-x': script=block-x can't run, a machine has no hotplug "
	  "scripts; leave it out" },
	{ "/i,raw,vda,w", "disk `/i,raw,vda,w': vdev=vda is no virtual disk; use xvda to xvdz" },
	{ "vdev=xvda,format=raw", "disk `vdev=xvda,format=raw': no target specified "
				  "(and device not removable); see "
				  "xl-disk-configuration(5)" },
	{ "/i,raw,xvda,x", "disk `/i,raw,xvda,x': unknown value for access: near `x'; see "
			   "xl-disk-configuration(5)" },
	{ "vdev=xvda,bogus=1,target=/i", "disk `vdev=xvda,bogus=1,target=/i': unknown parameter: "
					 "near `bogus=1,'; see xl-disk-configuration(5)" },
	{ "null:size=1G,raw,xvda,w",
	  "disk `null:size=1G,raw,xvda,w': bad disk syntax: near `=1G,raw,xvda,w'; see "
	  "xl-disk-configuration(5), and write a driver as target=driver:..." },
	{ "/i\n,raw,xvda,w", "disk `/i?,raw,xvda,w': a control character; write one line" },
	{ "", "disk `': no vdev specified; see xl-disk-configuration(5)" },
};

static void test_bad(void **state)
{
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		struct sr_disk disk;
		struct sr_fail f;

		assert_int_equal(sr_disk_parse(bad[i].spec, &disk, &f), -EINVAL);
		assert_string_equal(f.line, bad[i].line);
		assert_null(disk.target);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_keys),     cmocka_unit_test(test_positional),
		cmocka_unit_test(test_driver),   cmocka_unit_test(test_cdrom),
		cmocka_unit_test(test_relative), cmocka_unit_test(test_bad),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
