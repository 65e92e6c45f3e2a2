/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <tools/cfg.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const struct sr_cfg_key keys[] = {
	{ .name = "name", .type = SR_CFG_STRING },
	{ .name = "memory", .type = SR_CFG_NUMBER, .min = 1, .max = 4096 },
	{ .name = "direct", .type = SR_CFG_BOOL },
	{ .name = "disk", .type = SR_CFG_LIST },
	{ 0 },
};

static int parse(const char *text, const char *const *more, struct sr_cfg **cfg, struct sr_fail *f)
{
	return sr_cfg_parse("g.cfg", text, strlen(text), more, keys, cfg, f);
}

static void test_values(void **state)
{
	struct sr_cfg *cfg;
	struct sr_fail f;
	char where[64];

	assert_int_equal(parse("# a guest\nname = 'g' # its name = x\n"
			       "disk = [ 'a=[,\"#',\n  \"b;name=\" ]\n\nmemory=0x10;direct='on'",
			       NULL, &cfg, &f),
			 0);
	assert_string_equal(sr_cfg_string(cfg, "name", "?"), "g");
	assert_int_equal(sr_cfg_number(cfg, "memory", 1), 16);
	assert_true(sr_cfg_bool(cfg, "direct", false));
	assert_int_equal(sr_cfg_count(cfg, "disk"), 2);
	assert_string_equal(sr_cfg_item(cfg, "disk", 1), "b;name=");
	assert_true(sr_cfg_has(cfg, "disk") && sr_cfg_has(cfg, "name"));
	assert_string_equal(sr_cfg_where(cfg, "name", where, sizeof(where)), "g.cfg:2");
	assert_string_equal(sr_cfg_where(cfg, "memory", where, sizeof(where)), "g.cfg:6");
	assert_string_equal(sr_cfg_where(cfg, "direct", where, sizeof(where)), "g.cfg:6");
	assert_string_equal(sr_cfg_where(cfg, "vif", where, sizeof(where)), "g.cfg");
	sr_cfg_free(cfg);
	sr_cfg_free(NULL);
}

static void test_defaults(void **state)
{
	struct sr_cfg *cfg;
	struct sr_fail f;

	assert_int_equal(parse("", NULL, &cfg, &f), 0);
	assert_string_equal(sr_cfg_string(cfg, "name", "?"), "?");
	assert_int_equal(sr_cfg_number(cfg, "memory", 7), 7);
	assert_true(sr_cfg_bool(cfg, "direct", true));
	assert_int_equal(sr_cfg_count(cfg, "disk"), 0);
	assert_false(sr_cfg_has(cfg, "disk"));
	sr_cfg_free(cfg);
	assert_int_equal(parse("disk='one'", NULL, &cfg, &f), 0);
	assert_int_equal(sr_cfg_count(cfg, "disk"), 1);
	assert_string_equal(sr_cfg_item(cfg, "disk", 0), "one");
	sr_cfg_free(cfg);
}

static void test_overrides(void **state)
{
	const char *const more[] = { "name=a b\\c", "memory = 12", "disk=['x','y']", NULL };
	struct sr_cfg *cfg;
	struct sr_fail f;
	char where[64];

	assert_int_equal(parse("name='g'\nmemory=1", more, &cfg, &f), 0);
	assert_string_equal(sr_cfg_string(cfg, "name", "?"), "a b\\c");
	assert_int_equal(sr_cfg_number(cfg, "memory", 7), 12);
	assert_int_equal(sr_cfg_count(cfg, "disk"), 2);
	assert_string_equal(sr_cfg_where(cfg, "memory", where, sizeof(where)), "argument 2");
	sr_cfg_free(cfg);
}

static const struct {
	const char *text, *more, *line;
} bad[] = {
	{ "name='a'\nfoo=1\n", NULL,
	  "g.cfg:2: unknown key `foo'; known are name, memory, direct, disk" },
	{ "name='a'", "foo=1",
	  "argument 1: unknown key `foo'; known are name, memory, direct, disk" },
	{ "name=a", NULL,
	  "g.cfg:1: syntax error near `a': syntax error, unexpected IDENT, expecting STRING or "
	  "NUMBER or '['; see xl.cfg(5) for the syntax" },
	{ "\n\nname='a", NULL,
	  "g.cfg:3: syntax error near `'a': lexical error; see xl.cfg(5) for the syntax" },
	{ "memory=0", NULL,
	  "g.cfg:1: memory: bad value `0'; it has to be a number from 1 to 4096" },
	{ "memory='12k'", NULL,
	  "g.cfg:1: memory: bad value `12k'; it has to be a number from 1 to 4096" },
	{ "memory=99999999999999999999", NULL,
	  "g.cfg:1: memory: bad value `99999999999999999999'; it has to be a number from 1 to "
	  "4096" },
	{ "direct='maybe'", NULL, "g.cfg:1: direct: bad value `maybe'; write 1 or 0" },
	{ "name=['a']", NULL,
	  "g.cfg:1: name: a list where one value belongs; write name = \"...\"" },
	{ "disk=[['a']]", NULL, "g.cfg:1: disk: entry 1 is no string; write it in quotes" },
	{ "", "name", "`name': not a setting; write key=value" },
	{ "", "=1", "`=1': not a setting; write key=value" },
	{ "", "name=a'b\"c", "`name=a'b\"c': it holds both kinds of quotes; use a file" },
};

static void test_bad(void **state)
{
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		const char *more[] = { bad[i].more, NULL };
		struct sr_cfg *cfg = NULL;
		struct sr_fail f;

		assert_int_equal(parse(bad[i].text, more, &cfg, &f), -EINVAL);
		assert_string_equal(f.line, bad[i].line);
		assert_null(cfg);
	}
}

static void test_file(void **state)
{
	char path[] = "/tmp/sr-cfg-XXXXXX";
	int fd = mkstemp(path);
	struct sr_cfg *cfg;
	struct sr_fail f;

	assert_true(fd >= 0);
	assert_int_equal(write(fd, "memory=3", 8), 8);
	assert_int_equal(sr_cfg_read(path, NULL, keys, &cfg, &f), 0);
	assert_int_equal(sr_cfg_number(cfg, "memory", 7), 3);
	sr_cfg_free(cfg);
	assert_int_equal(write(fd, "\0", 1), 1);
	assert_int_equal(sr_cfg_read(path, NULL, keys, &cfg, &f), -EINVAL);
	close(fd);
	unlink(path);
	assert_int_equal(sr_cfg_read("/nonexistent/g", NULL, keys, &cfg, &f), -ENOENT);
	assert_string_equal(f.line, "/nonexistent/g: No such file or directory; give the path of a "
				    "readable file");
	assert_int_equal(sr_cfg_read("/tmp", NULL, keys, &cfg, &f), -EINVAL);
	assert_string_equal(f.line, "/tmp: not a regular file; give the path of one");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_values),    cmocka_unit_test(test_defaults),
		cmocka_unit_test(test_overrides), cmocka_unit_test(test_bad),
		cmocka_unit_test(test_file),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
