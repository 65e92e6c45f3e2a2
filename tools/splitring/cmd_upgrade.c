/* SPDX-License-Identifier: MIT */
#include "cli.h"
#include "machines.h"
#include "told.h"

#include <errno.h>
#include <getopt.h>
#include <json.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define PATIENCE_MS 30000
#define LOOK_MS     10

static const struct option no_options[] = { { 0 } };

/* Until another process answers. In between nobody does. */
static int await_other(struct cli *cli, const char *pid, struct json_object **info)
{
	struct sr_fail ignored;

	for (unsigned ms = 0; ms < PATIENCE_MS; ms += LOOK_MS) {
		nanosleep(&(struct timespec){ .tv_nsec = LOOK_MS * 1000000 }, NULL);
		if (machine_ask(cli->dir, 0, "info", info, &ignored))
			continue;
		if (strcmp(told_text(*info, "pid"), pid))
			return 0;
		json_object_put(*info);
	}
	return sr_fail(&cli->fail, ETIMEDOUT, "no other splitringd answers after %u s; see its log",
		       PATIENCE_MS / 1000);
}

int cmd_upgrade(struct cli *cli, int argc, char **argv)
{
	struct json_object *before = NULL, *after = NULL, *answer = NULL;
	int ret;

	if (cli_option(cli, argc, argv, no_options, 0, 0) != -1)
		return CLI_USAGE;
	ret = cli_find(cli);
	if (!ret)
		ret = machine_ask(cli->dir, 0, "info", &before, &cli->fail);
	if (!ret)
		ret = machine_ask(cli->dir, 0, "upgrade", &answer, &cli->fail);
	json_object_put(answer);
	if (!ret)
		ret = await_other(cli, told_text(before, "pid"), &after);
	if (!ret)
		printf("splitringd %s (pid %s), before %s (pid %s)\n", told_text(after, "version"),
		       told_text(after, "pid"), told_text(before, "version"),
		       told_text(before, "pid"));
	if (!ret)
		json_object_put(after);
	json_object_put(before);
	return ret;
}
