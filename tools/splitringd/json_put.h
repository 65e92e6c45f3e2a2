/* SPDX-License-Identifier: MIT */
#ifndef SPLITRINGD_JSON_PUT_H
#define SPLITRINGD_JSON_PUT_H

/* Members of a JSON object, in a word each. */

#include <json.h>

#include <stdbool.h>
#include <stdint.h>

#include <xen/io/xenbus.h>

static inline void put_u64(struct json_object *o, const char *key, uint64_t v)
{
	json_object_object_add(o, key, json_object_new_uint64(v));
}

static inline void put_string(struct json_object *o, const char *key, const char *v)
{
	json_object_object_add(o, key, json_object_new_string(v));
}

static inline void put_bool(struct json_object *o, const char *key, bool v)
{
	json_object_object_add(o, key, json_object_new_boolean(v));
}

/* A device's state, XenbusState*. */
static inline const char *put_state_name(unsigned state)
{
	static const char *const names[] = {
		[XenbusStateUnknown] = "unknown",
		[XenbusStateInitialising] = "initialising",
		[XenbusStateInitWait] = "init-wait",
		[XenbusStateInitialised] = "initialised",
		[XenbusStateConnected] = "connected",
		[XenbusStateClosing] = "closing",
		[XenbusStateClosed] = "closed",
		[XenbusStateReconfiguring] = "reconfiguring",
		[XenbusStateReconfigured] = "reconfigured",
	};

	return state < sizeof(names) / sizeof(*names) ? names[state] : "unknown";
}

#endif
