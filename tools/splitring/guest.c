/* SPDX-License-Identifier: MIT */
#include "guest.h"

#include <embedded/control.h>
#include <tools/cfg.h>
#include <tools/words.h>

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MAX_DISKS 256
#define MAX_NICS  64

static const struct sr_cfg_key keys[] = {
	{ .name = "name", .type = SR_CFG_STRING },
	{ .name = "uuid", .type = SR_CFG_STRING },
	{ .name = "type", .type = SR_CFG_STRING },
	{ .name = "memory", .type = SR_CFG_NUMBER, .min = 1, .max = 1 << 20 },
	{ .name = "maxmem", .type = SR_CFG_NUMBER, .min = 1, .max = 1 << 20 },
	{ .name = "vcpus", .type = SR_CFG_NUMBER, .min = 1, .max = 128 },
	{ .name = "kernel", .type = SR_CFG_STRING },
	{ .name = "ramdisk", .type = SR_CFG_STRING },
	{ .name = "extra", .type = SR_CFG_STRING },
	{ .name = "disk", .type = SR_CFG_LIST },
	{ .name = "vif", .type = SR_CFG_LIST },
	{ .name = "on_poweroff", .type = SR_CFG_STRING },
	{ .name = "on_reboot", .type = SR_CFG_STRING },
	{ .name = "on_crash", .type = SR_CFG_STRING },
	{ 0 },
};

static int fail_memory(struct sr_fail *f)
{
	return sr_fail(f, ENOMEM, "out of memory; free some");
}

static int read_name(struct guest *g, const struct sr_cfg *cfg, struct sr_fail *f)
{
	const char *name = sr_cfg_string(cfg, "name", NULL);
	size_t n;

	if (!name)
		return sr_cfg_fail(cfg, "name", f, EINVAL, "no name; add name = \"...\"");
	n = strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._+-");
	if (!n || name[n] || n > SR_NAME_MAX)
		return sr_cfg_fail(cfg, "name", f, EINVAL,
				   "name: bad value `%s'; use up to %d letters, digits, '.', '_', "
				   "'+', '-'",
				   name, SR_NAME_MAX);
	g->name = strdup(name);
	return g->name ? 0 : fail_memory(f);
}

static int read_uuid(struct guest *g, const struct sr_cfg *cfg, struct sr_fail *f)
{
	const char *text = sr_cfg_string(cfg, "uuid", NULL), *p = text;
	unsigned n = 0;

	if (!text)
		return 0;
	while (*p && n < sizeof(g->uuid)) {
		unsigned byte;
		int len = 0;

		if (*p == '-' && (n == 4 || n == 6 || n == 8 || n == 10))
			p++;
		if (sscanf(p, "%2x%n", &byte, &len) != 1 || len != 2 || *p == '-' || *p == '+')
			break;
		g->uuid[n++] = (uint8_t)byte;
		p += 2;
	}
	if (n == sizeof(g->uuid) && !*p)
		return 0;
	return sr_cfg_fail(cfg, "uuid", f, EINVAL,
			   "uuid: bad value `%s'; write 32 hexadecimal digits, as uuidgen(1) does",
			   text);
}

/* What a machine without virtual hardware can't do must not look as if it were done. */
static int refuse_foreign(const struct sr_cfg *cfg, struct sr_fail *f)
{
	static const char *const events[] = { "on_poweroff", "on_reboot", "on_crash" };
	const char *type = sr_cfg_string(cfg, "type", "pv");

	if (strcmp(type, "pv") && strcmp(type, "pvh"))
		return sr_cfg_fail(cfg, "type", f, EINVAL,
				   "type: `%s' needs a real Xen; use pv or pvh", type);
	for (unsigned i = 0; i < sizeof(events) / sizeof(*events); i++) {
		const char *action = sr_cfg_string(cfg, events[i], "destroy");

		if (strcmp(action, "destroy"))
			return sr_cfg_fail(cfg, events[i], f, EINVAL,
					   "%s: `%s' can't be done; a guest that ends is destroyed",
					   events[i], action);
	}
	return 0;
}

/* A file that is there; a relative path is the caller's. */
static int read_path(const struct sr_cfg *cfg, const char *key, int mode, char **to,
		     struct sr_fail *f)
{
	const char *path = sr_cfg_string(cfg, key, NULL);

	if (!path)
		return 0;
	if (access(path, mode))
		return sr_cfg_fail(cfg, key, f, errno, "%s: %s: %m; give the path of %s", key, path,
				   mode & X_OK ? "a program" : "a readable file");
	*to = realpath(path, NULL);
	return *to ? 0 : fail_memory(f);
}

static int read_command(struct guest *g, const struct sr_cfg *cfg, struct sr_fail *f)
{
	const char *extra = sr_cfg_string(cfg, "extra", "");
	char **words;
	size_t n;
	int ret;

	ret = read_path(cfg, "kernel", R_OK | X_OK, &g->kernel, f);
	if (!ret && !g->kernel)
		ret = sr_cfg_fail(cfg, "kernel", f, EINVAL,
				  "no kernel; add kernel = \"PROGRAM\", which runs as the guest");
	if (!ret)
		ret = read_path(cfg, "ramdisk", R_OK, &g->ramdisk, f);
	if (ret)
		return ret;
	ret = sr_words_split(extra, &words, &n);
	if (ret == -EINVAL)
		return sr_cfg_fail(cfg, "extra", f, EINVAL,
				   "extra: a quote is not closed in `%s'; close it", extra);
	if (ret)
		return fail_memory(f);
	/* The words stay in one block with their array, so the program's name goes into another. */
	g->argv = calloc(n + 2, sizeof(*g->argv));
	if (g->argv) {
		g->argv[0] = strdup(g->kernel);
		for (size_t i = 0; i < n; i++)
			g->argv[i + 1] = strdup(words[i]);
	}
	sr_words_free(words);
	for (size_t i = 0; g->argv && i <= n; i++)
		if (!g->argv[i])
			ret = fail_memory(f);
	return g->argv ? ret : fail_memory(f);
}

static int read_disks(struct guest *g, const struct sr_cfg *cfg, struct sr_fail *f)
{
	size_t n = sr_cfg_count(cfg, "disk");
	struct sr_fail why;
	int ret;

	if (!n)
		return 0;
	if (n > MAX_DISKS)
		return sr_cfg_fail(cfg, "disk", f, EINVAL, "disk: %zu disks; give at most %d", n,
				   MAX_DISKS);
	g->disks = calloc(n, sizeof(*g->disks));
	if (!g->disks)
		return fail_memory(f);
	for (size_t i = 0; i < n; i++) {
		ret = sr_disk_parse(sr_cfg_item(cfg, "disk", i), &g->disks[i], &why);
		if (ret)
			return sr_cfg_fail(cfg, "disk", f, -ret, "%s", why.line);
		g->disk_count++;
		for (size_t j = 0; j < i; j++)
			if (g->disks[j].number == g->disks[i].number)
				return sr_cfg_fail(cfg, "disk", f, EINVAL,
						   "disk: %s twice; use another vdev",
						   g->disks[i].vdev);
	}
	return 0;
}

static int read_nics(struct guest *g, const struct sr_cfg *cfg, struct sr_fail *f)
{
	size_t n = sr_cfg_count(cfg, "vif");
	struct sr_fail why;

	if (!n)
		return 0;
	if (n > MAX_NICS)
		return sr_cfg_fail(cfg, "vif", f, EINVAL, "vif: %zu NICs; give at most %d", n,
				   MAX_NICS);
	g->nics = calloc(n, sizeof(*g->nics));
	if (!g->nics)
		return fail_memory(f);
	for (size_t i = 0; i < n; i++) {
		int ret = sr_nic_parse(sr_cfg_item(cfg, "vif", i), &g->nics[i], &why);

		if (ret)
			return sr_cfg_fail(cfg, "vif", f, -ret, "%s", why.line);
		g->nic_count++;
	}
	return 0;
}

int guest_read(const char *path, const char *const *more, struct guest *g, struct sr_fail *f)
{
	struct sr_cfg *cfg;
	int ret;

	*g = (struct guest){ 0 };
	ret = sr_cfg_read(path, more, keys, &cfg, f);
	if (ret)
		return ret;
	g->pages = (uint64_t)sr_cfg_number(cfg, "memory", sr_cfg_number(cfg, "maxmem", 128)) * 256;
	g->vcpus = (unsigned)sr_cfg_number(cfg, "vcpus", 1);
	ret = read_name(g, cfg, f);
	if (!ret)
		ret = read_uuid(g, cfg, f);
	if (!ret)
		ret = refuse_foreign(cfg, f);
	if (!ret)
		ret = read_command(g, cfg, f);
	if (!ret)
		ret = read_disks(g, cfg, f);
	if (!ret)
		ret = read_nics(g, cfg, f);
	sr_cfg_free(cfg);
	if (ret)
		guest_free(g);
	return ret;
}

void guest_free(struct guest *g)
{
	for (size_t i = 0; i < g->disk_count; i++)
		sr_disk_free(&g->disks[i]);
	for (char **arg = g->argv; arg && *arg; arg++)
		free(*arg);
	for (size_t i = 0; i < g->nic_count; i++)
		sr_nic_free(&g->nics[i]);
	free(g->disks);
	free(g->nics);
	free(g->argv);
	free(g->name);
	free(g->kernel);
	free(g->ramdisk);
	*g = (struct guest){ 0 };
}
