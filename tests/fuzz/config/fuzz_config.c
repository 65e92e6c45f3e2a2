/* SPDX-License-Identifier: MIT */
/*
 * Whatever an operator writes into a configuration, a disk specification, a vdev or `extra`: it is
 * taken or refused with one line, and nothing is leaked or overrun.
 */
#include "fuzz_config.h"

#include <tools/cfg.h>
#include <tools/disk.h>
#include <blkfront/vdev.h>
#include <tools/words.h>

#include <stdlib.h>
#include <string.h>

/* libxlutil forgets what it had read of a text that then turns out to be no good. */
const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void)
{
	return "leak:libxlutil.so\n";
}

static const struct sr_cfg_key keys[] = {
	{ .name = "name", .type = SR_CFG_STRING },
	{ .name = "memory", .type = SR_CFG_NUMBER, .min = 1, .max = 1 << 20 },
	{ .name = "direct", .type = SR_CFG_BOOL },
	{ .name = "disk", .type = SR_CFG_LIST },
	{ 0 },
};

static void check_line(const struct sr_fail *f)
{
	if (!f->line[0] || strpbrk(f->line, "\n\r"))
		abort();
}

static void fuzz_cfg(const uint8_t *data, size_t size, const char *text)
{
	const char *more[] = { text, NULL };
	struct sr_fail f = { "" };
	struct sr_cfg *cfg;

	if (sr_cfg_parse("fuzz", (const char *)data, size, NULL, keys, &cfg, &f)) {
		check_line(&f);
	} else {
		sr_cfg_string(cfg, "name", "");
		sr_cfg_number(cfg, "memory", 0);
		sr_cfg_bool(cfg, "direct", false);
		for (size_t i = 0; i < sr_cfg_count(cfg, "disk"); i++)
			if (!sr_cfg_item(cfg, "disk", i))
				abort();
		sr_cfg_free(cfg);
	}
	if (sr_cfg_parse("fuzz", "name='x'\n", 9, more, keys, &cfg, &f))
		check_line(&f);
	else
		sr_cfg_free(cfg);
}

static void fuzz_disk(const char *text)
{
	struct sr_fail f = { "" };
	struct sr_disk disk;

	if (sr_disk_parse(text, &disk, &f)) {
		check_line(&f);
	} else {
		if (!disk.vdev || !disk.target)
			abort();
		sr_disk_free(&disk);
	}
}

static void fuzz_vdev(const char *text)
{
	uint32_t number, back;
	char name[32];

	if (sr_vdev_parse(text, &number))
		return;
	sr_vdev_name(number, name, sizeof(name));
	if (sr_vdev_parse(name, &back))
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = malloc(size + 1);
	char **words;
	size_t n;

	if (!text)
		return 0;
	memcpy(text, data, size);
	text[size] = '\0';
	fuzz_cfg(data, size, text);
	fuzz_disk(text);
	fuzz_vdev(text);
	if (!sr_words_split(text, &words, &n))
		sr_words_free(words);
	free(text);
	return 0;
}
