/* SPDX-License-Identifier: MIT */
/* Which call fails. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "faulty_impl.h"

static const char *const keys[SR_FAULTS] = {
	[SR_FAULT_MAP] = "map",
	[SR_FAULT_COPY] = "copy",
	[SR_FAULT_COPY_SEGMENT] = "copy-segment",
	[SR_FAULT_SHARE] = "share",
	[SR_FAULT_BIND] = "bind",
	[SR_FAULT_NOTIFY_LOST] = "notify-lost",
	[SR_FAULT_NOTIFY_DIES] = "notify-dies",
	[SR_FAULT_EVTCHN_LOST] = "evtchn-lost",
	[SR_FAULT_EVTCHN_LATE] = "evtchn-late",
	[SR_FAULT_EVTCHN_DOUBLE] = "evtchn-double",
	[SR_FAULT_STORE] = "store",
};

static int parse_probability(const char *value, struct sr_fault_plan *plan)
{
	char *end;
	double p = strtod(value, &end);

	if (*end || !(p >= 0.0) || p > 1.0)
		return -EINVAL;
	plan->threshold = p == 1.0 ? UINT64_MAX : (uint64_t)(p * 18446744073709551616.0);
	return 0;
}

static int parse_count(const char *value, uint64_t *n)
{
	char *end;

	if (*value < '0' || *value > '9')
		return -EINVAL;
	errno = 0;
	*n = strtoull(value, &end, 10);
	return *end || errno ? -EINVAL : 0;
}

static int parse_one(const char *key, const char *value, struct sr_faulty *hv)
{
	if (!strcmp(key, "seed"))
		return parse_count(value, &hv->seed);
	for (int i = 0; i < SR_FAULTS; i++) {
		if (strcmp(key, keys[i]))
			continue;
		return strchr(value, '.') ? parse_probability(value, &hv->plans[i])
					  : parse_count(value, &hv->plans[i].nth);
	}
	return -EINVAL;
}

int sr_faulty_parse(const char *spec, size_t len, struct sr_faulty *hv)
{
	char *copy = strndup(spec, len), *save = NULL;
	int err = copy ? 0 : -ENOMEM;

	hv->seed = 1;
	for (char *item = copy ? strtok_r(copy, ",", &save) : NULL; item && !err;
	     item = strtok_r(NULL, ",", &save)) {
		char *equals = strchr(item, '=');

		if (!equals) {
			err = -EINVAL;
			break;
		}
		*equals = '\0';
		err = parse_one(item, equals + 1, hv);
	}
	free(copy);
	return err;
}

/* splitmix64: a good mix of (seed, kind, call), so that no kind depends on another one's calls. */
static uint64_t mix(uint64_t x)
{
	x += UINT64_C(0x9e3779b97f4a7c15);
	x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
	return x ^ (x >> 31);
}

bool sr_faulty_strikes(struct sr_faulty *hv, enum sr_fault kind)
{
	struct sr_fault_plan *plan = &hv->plans[kind];
	uint64_t call = 1 + atomic_fetch_add_explicit(&plan->calls, 1, memory_order_relaxed);
	bool strikes;

	if (plan->threshold)
		strikes = mix(mix(hv->seed + ((uint64_t)kind << 56)) + call) < plan->threshold;
	else
		strikes = call == plan->nth;
	if (strikes)
		atomic_fetch_add_explicit(&plan->faults, 1, memory_order_relaxed);
	return strikes;
}
