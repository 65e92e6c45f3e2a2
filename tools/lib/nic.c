/* SPDX-License-Identifier: MIT */
#include <tools/nic.h>

#include <libxlutil.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

static int out_of_memory(const char *spec, struct sr_fail *f)
{
	return sr_fail(f, ENOMEM, "vif `%s': out of memory; free some", spec);
}

/* In Xen's own range, as libxl makes them up. */
static int make_mac(struct sr_nic *nic)
{
	uint8_t random[3];

	if (getrandom(random, sizeof(random), 0) != sizeof(random))
		return -errno;
	memcpy(nic->mac, (uint8_t[]){ 0x00, 0x16, 0x3e }, 3);
	nic->mac[3] = random[0] & 0x7f;
	nic->mac[4] = random[1];
	nic->mac[5] = random[2];
	return 0;
}

static int set_mac(struct sr_nic *nic, const char *spec, const char *value, struct sr_fail *f)
{
	unsigned b[6];
	int end = 0;

	if (strspn(value, "0123456789abcdefABCDEF:") != strlen(value) || strlen(value) != 17 ||
	    sscanf(value, "%2x:%2x:%2x:%2x:%2x:%2x%n", &b[0], &b[1], &b[2], &b[3], &b[4], &b[5],
		   &end) != 6 ||
	    value[end] || b[0] & 1)
		return sr_fail(f, EINVAL,
			       "vif `%s': mac=%s is no address of one NIC; write it as "
			       "00:16:3e:12:34:56",
			       spec, value);
	for (unsigned i = 0; i < 6; i++)
		nic->mac[i] = (uint8_t)b[i];
	return 0;
}

static int set_number(const char *spec, const char *key, const char *value, unsigned long min,
		      unsigned long max, uint32_t *to, struct sr_fail *f)
{
	char *end;
	unsigned long n = strtoul(value, &end, 10);

	if (*value < '0' || *value > '9' || *end || n < min || n > max)
		return sr_fail(f, EINVAL, "vif `%s': %s=%s: use %lu to %lu", spec, key, value, min,
			       max);
	*to = (uint32_t)n;
	return 0;
}

static int set_rate(struct sr_nic *nic, const char *spec, const char *value, struct sr_fail *f)
{
	FILE *sink = fopen("/dev/null", "w");
	XLU_Config *xlu = sink ? xlu_cfg_init(sink, "vif") : NULL;
	libxl_device_nic xl = { 0 };
	int ret = 0;

	if (!xlu)
		ret = out_of_memory(spec, f);
	else if (xlu_vif_parse_rate(xlu, value, &xl))
		ret = sr_fail(f, EINVAL, "vif `%s': rate=%s: write it as 10Mb/s, or 1MB/s@20ms",
			      spec, value);
	nic->rate_bytes = xl.rate_bytes_per_interval;
	nic->rate_interval_us = xl.rate_interval_usecs;
	if (xlu)
		xlu_cfg_destroy(xlu);
	if (sink)
		fclose(sink);
	return ret;
}

static int set_string(char **to, const char *spec, const char *value, struct sr_fail *f)
{
	free(*to);
	*to = strdup(value);
	return *to ? 0 : out_of_memory(spec, f);
}

static int set(struct sr_nic *nic, const char *spec, const char *key, const char *value,
	       struct sr_fail *f)
{
	const struct {
		const char *key;
		char **to;
	} strings[] = {
		{ "bridge", &nic->bridge },
		{ "ip", &nic->ip },
		{ "vifname", &nic->vifname },
		{ "backend", &nic->backend },
	};
	int ret;

	for (size_t i = 0; i < sizeof(strings) / sizeof(strings[0]); i++)
		if (!strcmp(key, strings[i].key))
			return set_string(strings[i].to, spec, value, f);
	if (!strcmp(key, "mac"))
		return set_mac(nic, spec, value, f);
	if (!strcmp(key, "rate"))
		return set_rate(nic, spec, value, f);
	if (!strcmp(key, "mtu"))
		return set_number(spec, key, value, 68, 65535, &nic->mtu, f);
	if (!strcmp(key, "devid")) {
		ret = set_number(spec, key, value, 0, 255, &nic->devid, f);
		nic->has_devid = !ret;
		return ret;
	}
	if (!strcmp(key, "script"))
		return sr_fail(f, EINVAL,
			       "vif `%s': script=%s can't run, a machine has no hotplug scripts; "
			       "leave it out",
			       spec, value);
	if (!strcmp(key, "model") || (!strcmp(key, "type") && strcmp(value, "vif")))
		return sr_fail(f, EINVAL,
			       "vif `%s': %s=%s is an emulated NIC, which needs a real Xen; leave "
			       "it out",
			       spec, key, value);
	if (!strcmp(key, "type"))
		return 0;
	return sr_fail(f, EINVAL, "vif `%s': unknown key `%s'; see xl-network-configuration(5)",
		       spec, key);
}

int sr_nic_parse(const char *spec, struct sr_nic *nic, struct sr_fail *f)
{
	char *copy = strdup(spec), *rest = copy, *word;
	int ret = 0;

	*nic = (struct sr_nic){ 0 };
	if (!copy || make_mac(nic)) {
		free(copy);
		return out_of_memory(spec, f);
	}
	while (!ret && (word = strsep(&rest, ","))) {
		char *value = strchr(word, '=');

		word += strspn(word, " ");
		if (!*word)
			continue;
		if (!value) {
			ret = sr_fail(f, EINVAL, "vif `%s': `%s' has no value; write KEY=VALUE",
				      spec, word);
			break;
		}
		*value++ = '\0';
		ret = set(nic, spec, word, value, f);
	}
	free(copy);
	if (ret)
		sr_nic_free(nic);
	return ret;
}

void sr_nic_free(struct sr_nic *nic)
{
	free(nic->bridge);
	free(nic->ip);
	free(nic->vifname);
	free(nic->backend);
	*nic = (struct sr_nic){ 0 };
}
