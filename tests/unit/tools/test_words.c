/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <tools/words.h>

#include <errno.h>
#include <string.h>

/* The words of each line, joined by '|'. */
static const struct {
	const char *line, *words;
} good[] = {
	{ "", "" },
	{ " \t\n ", "" },
	{ "a", "a" },
	{ "a b  c", "a|b|c" },
	{ " --size=1G\t-v ", "--size=1G|-v" },
	{ "'a b' \"c d\"", "a b|c d" },
	{ "a'b'\"c\"d", "abcd" },
	{ "a\\ b \\'", "a b|'" },
	{ "'a\\b'", "a\\b" },
	{ "\"a\\\"b\\\\c\\d\"", "a\"b\\c\\d" },
	{ "'' \"\"", "|" },
	{ "$HOME `id` * ; > x &&", "$HOME|`id`|*|;|>|x|&&" },
};

static const char *const bad[] = { "'", "\"", "a 'b", "a \"b'", "\\", "a \\", "\"a\\\"" };

static void test_good(void **state)
{
	for (size_t i = 0; i < sizeof(good) / sizeof(*good); i++) {
		char joined[128] = "";
		char **words;
		size_t n;

		assert_int_equal(sr_words_split(good[i].line, &words, &n), 0);
		for (size_t w = 0; w < n; w++) {
			strcat(joined, w ? "|" : "");
			strcat(joined, words[w]);
		}
		assert_string_equal(joined, good[i].words);
		assert_null(words[n]);
		sr_words_free(words);
	}
}

static void test_bad(void **state)
{
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		char **words;
		size_t n;

		assert_int_equal(sr_words_split(bad[i], &words, &n), -EINVAL);
	}
	sr_words_free(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_good),
		cmocka_unit_test(test_bad),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
