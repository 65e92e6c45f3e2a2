/* SPDX-License-Identifier: MIT */
#ifndef SPLITRING_TOLD_H
#define SPLITRING_TOLD_H

struct cli;
struct device;
struct json_object;

/* What the last daemon that was asked has told: most devices have the same one. */
struct told {
	int backend;                /* -1: none was asked */
	struct json_object *answer; /* the owner puts it in the end */
};

/*
 * What the device's daemon tells of it, which is asked if need be. `key`: the list that it is in.
 * NULL if it tells nothing; the caller owns a reference.
 */
struct json_object *told_find(struct cli *cli, struct told *told, const char *key,
			      const struct device *device);

/* A member as text, "-" where there is none. */
const char *told_text(struct json_object *o, const char *key);

#endif
