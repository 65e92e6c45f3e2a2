/* SPDX-License-Identifier: MIT */

/* The registry, targets, options, and the lines an operator reads when one of them is wrong. */

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <drivers/registry.h>
#include <splitring/blk_options.h>

static struct sr_blk_registry *registry;
static char error[512];

static int set_up(void **state)
{
	return sr_blk_registry_new(&registry);
}

static int tear_down(void **state)
{
	sr_blk_registry_free(registry);
	return 0;
}

static void parse(const char *text, const char *driver, const char *name, const char *options)
{
	struct sr_blk_target target;

	assert_int_equal(sr_blk_target_parse(registry, text, &target, error, sizeof(error)), 0);
	assert_string_equal(target.driver->name, driver);
	assert_string_equal(target.target, name);
	assert_string_equal(target.options, options);
	sr_blk_target_clear(&target);
}

static void refuse(const char *text, int err, const char *part)
{
	struct sr_blk_target target;

	assert_int_equal(sr_blk_target_parse(registry, text, &target, error, sizeof(error)), err);
	assert_non_null(strstr(error, part));
	sr_blk_target_clear(&target);
}

static void test_targets(void **state)
{
	parse("null:size=1G", "null", "size=1G", "");
	parse("null:size=1G,zeroes=on,block=4096", "null", "size=1G", "zeroes=on,block=4096");
	parse("ram:size=1M,", "ram", "size=1M", "");
	parse("null:a,,b,c=d", "null", "a,b", "c=d");
	parse("null:a:b/c", "null", "a:b/c", "");
	refuse("floppy:/a", -ENOENT, "no driver 'floppy'; known are: null, ram");
	refuse("null:", -EINVAL, "names no disk");
	refuse("null:,size=1G", -EINVAL, "names no disk");
}

static void test_default_driver_is_uring(void **state)
{
	parse("/images/a.img", "uring", "/images/a.img", "");
	parse("/images/a:b,direct=off", "uring", "/images/a:b", "direct=off");
	parse("./null:a", "uring", "./null:a", "");
	parse("UPPER:a", "uring", "UPPER:a", "");
	parse("uring:/dev/sda", "uring", "/dev/sda", "");
	parse("aio:/dev/sda", "aio", "/dev/sda", "");
}

static void test_sizes(void **state)
{
	const struct {
		const char *text;
		int err;
		uint64_t size;
	} cases[] = {
		{ "0", 0, 0 },
		{ "512", 0, 512 },
		{ "0x200", 0, 512 },
		{ "1k", 0, 1024 },
		{ "3M", 0, 3u << 20 },
		{ "7g", 0, UINT64_C(7) << 30 },
		{ "16777215T", 0, UINT64_C(16777215) << 40 },
		{ "16777216T", -EINVAL, 0 },
		{ "18446744073709551615", 0, UINT64_MAX },
		{ "18446744073709551616", -EINVAL, 0 },
		{ "", -EINVAL, 0 },
		{ "-1", -EINVAL, 0 },
		{ " 1", -EINVAL, 0 },
		{ "1KB", -EINVAL, 0 },
		{ "1P", -EINVAL, 0 },
		{ "12345678901234567890123456789012345", -EINVAL, 0 },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		uint64_t size = 0;

		assert_int_equal(sr_blk_parse_size(cases[i].text, strlen(cases[i].text), &size),
				 cases[i].err);
		assert_int_equal(size, cases[i].size);
	}
}

/* Opens `text`, which must fail with `err` and a line that has `part` in it. */
static void open_fails(const char *text, int err, const char *part)
{
	struct sr_blk_target target;
	struct sr_blk_info info;
	void *disk;

	assert_int_equal(sr_blk_target_parse(registry, text, &target, error, sizeof(error)), 0);
	assert_int_equal(sr_blk_target_open(&target, false, &disk, &info, error, sizeof(error)),
			 err);
	if (!strstr(error, part))
		fail_msg("'%s' has no '%s' in it", error, part);
	sr_blk_target_clear(&target);
}

static void test_options(void **state)
{
	open_fails("null:size=1G,zeros=on", -EINVAL,
		   "null:size=1G: unknown option 'zeros'; known are: block, zeroes");
	open_fails("null:size=1G,zeroes", -EINVAL, "option zeroes needs a value");
	open_fails("null:size=1G,zeroes=maybe", -EINVAL, "zeroes=maybe: it is on or off");
	open_fails("null:size=1G,zeroes=on,zeroes=off", -EINVAL, "zeroes is given twice");
	open_fails("null:size=1G,zeroes=on,", -EINVAL, "missing after the last comma");
	open_fails("null:size=1G,block=1000", -EINVAL, "512 or 4096");
	open_fails("null:size=big", -EINVAL, "size=big is no size");
	open_fails("null:size=0", -EINVAL, "above 0");
	open_fails("null:1G", -EINVAL, "unknown option '1G'; known are: size");
	open_fails("null:size=700", -EINVAL, "multiple of 512");
	open_fails("ram:size=513", -EINVAL, "multiple of 512");
	open_fails("ram:size=1000T", -EINVAL, "64T");
	open_fails("ram:size=1M,size=1M", -EINVAL, "known are: prefault, hugepages");
}

static void test_options_of_every_type(void **state)
{
	const struct sr_blk_open args = { .error = error, .error_size = sizeof(error) };
	uint64_t size = 0, number = 0;
	unsigned choice = 9;
	bool on = false, off = true;
	const struct sr_blk_option known[] = {
		{ "size", SR_BLK_OPTION_SIZE, &size, NULL },
		{ "on", SR_BLK_OPTION_BOOL, &on, NULL },
		{ "off", SR_BLK_OPTION_BOOL, &off, NULL },
		{ "choice", SR_BLK_OPTION_CHOICE, &choice, "auto on off" },
		{ "number", SR_BLK_OPTION_NUMBER, &number, NULL },
	};

	assert_int_equal(sr_blk_options_read(&args, "", known, 5), 0);
	assert_int_equal(choice, 9);
	assert_int_equal(
	    sr_blk_options_read(&args, "size=2K,on=yes,off=0,choice=off,number=17", known, 5), 0);
	assert_int_equal(size, 2048);
	assert_true(on);
	assert_false(off);
	assert_int_equal(choice, 2);
	assert_int_equal(number, 17);
	assert_int_equal(sr_blk_options_read(&args, "choice=o", known, 5), -EINVAL);
	assert_string_equal(error, "choice=o: it is one of: auto on off");
	assert_int_equal(sr_blk_options_read(&args, "number=17K", known, 5), -EINVAL);
	assert_string_equal(error, "number=17K is no number");
}

static int nothing_open(const struct sr_blk_open *args, void **disk, struct sr_blk_info *info)
{
	static int disks;

	*disk = &disks;
	*info = (struct sr_blk_info){ .size = 1000, .logical_block_size = 512 };
	return strcmp(args->target, "fail") == 0 ? -EIO : 0;
}

static enum sr_blk_submit nothing_submit(void *queue, struct sr_blk_request *req)
{
	return SR_BLK_DONE;
}

static struct sr_blk_driver nothing(void)
{
	return (struct sr_blk_driver){ .abi = SR_BLK_DRIVER_ABI,
				       .name = "nothing",
				       .open = nothing_open,
				       .submit = nothing_submit };
}

static void test_add(void **state)
{
	struct sr_blk_driver driver = nothing();
	size_t n = 0;

	assert_int_equal(sr_blk_registry_add(registry, &driver, error, sizeof(error)), 0);
	assert_ptr_equal(sr_blk_driver_find(registry, "nothing"), &driver);
	assert_int_equal(sr_blk_registry_add(registry, &driver, error, sizeof(error)), -EEXIST);
	assert_non_null(strstr(error, "nothing"));
	while (sr_blk_driver_at(registry, n))
		n++;
	assert_ptr_equal(sr_blk_driver_at(registry, n - 1), &driver);
	/* What it says of its disk is no multiple of the block: caught before the engine sees it.
	 */
	open_fails("nothing:x", -EPROTO, "nothing:x: size 1000 is no multiple");
	/* A driver that leaves no line still gives the operator one. */
	open_fails("nothing:fail", -EIO, "nothing:fail: Input/output error");
}

static void nothing_close(void *queue)
{
}

static int nothing_fd(void *queue)
{
	return -1;
}

static void add_fails(struct sr_blk_driver driver, const char *part)
{
	assert_int_equal(sr_blk_registry_add(registry, &driver, error, sizeof(error)), -EINVAL);
	assert_non_null(strstr(error, part));
}

static void test_add_refuses(void **state)
{
	struct sr_blk_driver driver = nothing();

	driver.abi = SR_BLK_DRIVER_ABI + 1;
	add_fails(driver, "compile it against the headers of this version");
	driver = nothing();
	driver.name = "No Name";
	add_fails(driver, "name");
	driver = nothing();
	driver.submit = NULL;
	add_fails(driver, "submit()");
	driver = nothing();
	driver.queue_close = nothing_close;
	add_fails(driver, "queue_open() and queue_close()");
	driver = nothing();
	driver.fd = nothing_fd;
	add_fails(driver, "reap() and fd()");
	driver = nothing();
	driver.scratch_size = 1u << 20;
	add_fails(driver, "scratch_size");
}

static const char *module_old, *module_other;

static void load_fails(const char *path, int err, const char *part)
{
	int got = sr_blk_registry_load(registry, path, NULL, error, sizeof(error));

	if (got != err || !strstr(error, part) || !strstr(error, path))
		fail_msg("%d, '%s' in place of %d, '%s'", got, error, err, part);
	assert_null(strchr(error, '\n'));
}

static void test_load_refuses(void **state)
{
	load_fails("/nowhere/driver.so", -ENOENT, "No such file");
	load_fails("driver.so", -EINVAL, "as in ./driver.so");
	load_fails("/etc/passwd", -ENOEXEC, "can't be loaded");
	load_fails(module_other, -ENOEXEC, "exports no sr_blk_driver");
	load_fails(module_old, -EINVAL, "built for driver ABI 2, this splitring has ABI 1");
}

static void test_info_check(void **state)
{
	const struct sr_blk_info good = { .size = 8192,
					  .logical_block_size = 4096,
					  .physical_block_size = 4096,
					  .memory_alignment = 512,
					  .discard_granularity = 8192 };
	struct sr_blk_info info = good;

	assert_int_equal(sr_blk_info_check(&info, error, sizeof(error)), 0);
	info.logical_block_size = 8192;
	assert_int_equal(sr_blk_info_check(&info, error, sizeof(error)), -EPROTO);
	info = good;
	info.physical_block_size = 512;
	assert_int_equal(sr_blk_info_check(&info, error, sizeof(error)), -EPROTO);
	info = good;
	info.memory_alignment = 24;
	assert_int_equal(sr_blk_info_check(&info, error, sizeof(error)), -EPROTO);
	info = good;
	info.size = 0;
	assert_int_equal(sr_blk_info_check(&info, error, sizeof(error)), -EPROTO);
	info = good;
	info.discard_granularity = 512;
	assert_int_equal(sr_blk_info_check(&info, error, sizeof(error)), -EPROTO);
}

/* The two modules, which are made beside this program, are its arguments. */
int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_targets, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_default_driver_is_uring, set_up, tear_down),
		cmocka_unit_test(test_sizes),
		cmocka_unit_test_setup_teardown(test_options, set_up, tear_down),
		cmocka_unit_test(test_options_of_every_type),
		cmocka_unit_test_setup_teardown(test_add, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_add_refuses, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_load_refuses, set_up, tear_down),
		cmocka_unit_test(test_info_check),
	};

	if (argc != 3)
		return 2;
	module_old = argv[1];
	module_other = argv[2];

	return cmocka_run_group_tests_name("drivers-registry", tests, NULL, NULL);
}
