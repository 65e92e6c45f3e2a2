/* SPDX-License-Identifier: MIT */
#include <tools/rundir.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int fail_long(const char *what, struct sr_fail *f)
{
	return sr_fail(f, ENAMETOOLONG, "%s: too long for a path; use a shorter one", what);
}

int sr_run_base(char *dir, size_t size, struct sr_fail *f)
{
	const char *run = getenv("SPLITRING_RUN"), *xdg = getenv("XDG_RUNTIME_DIR");
	int n;

	if (run && *run)
		n = snprintf(dir, size, "%s", run);
	else if (geteuid() == 0)
		n = snprintf(dir, size, "/run/splitring");
	else if (xdg && *xdg)
		n = snprintf(dir, size, "%s/splitring", xdg);
	else
		n = snprintf(dir, size, "/tmp/splitring-%u", (unsigned)geteuid());
	return (size_t)n < size ? 0 : fail_long("SPLITRING_RUN", f);
}

int sr_run_machine_dir(const char *name, char *dir, size_t size, struct sr_fail *f)
{
	char base[PATH_MAX];
	int ret, n;

	if (!*name || !strcmp(name, ".") || !strcmp(name, ".."))
		return sr_fail(f, EINVAL, "machine `%s': not a name; use letters and digits", name);
	if (strchr(name, '/')) {
		n = snprintf(dir, size, "%s", name);
	} else {
		ret = sr_run_base(base, sizeof(base), f);
		if (ret)
			return ret;
		n = snprintf(dir, size, "%s/%s", base, name);
	}
	return (size_t)n < size ? 0 : fail_long(name, f);
}

/* DIR or DIR#DOMID behind "embedded:". */
static int embedded_dir(const char *address, const char *rest, char *dir, size_t size,
			uint16_t *domid, struct sr_fail *f)
{
	const char *hash = strrchr(rest, '#');
	size_t len = hash ? (size_t)(hash - rest) : strlen(rest);
	unsigned long id = 0;
	char *end;

	if (hash) {
		id = strtoul(hash + 1, &end, 10);
		if (hash[1] < '0' || hash[1] > '9' || *end || id >= 0x7ff0)
			return sr_fail(f, EINVAL, "%s: `%s' is no domain's number; write DIR#7",
				       address, hash + 1);
	}
	if (!len)
		return sr_fail(f, EINVAL, "%s: no directory; write embedded:DIR", address);
	if (len >= size)
		return fail_long(address, f);
	memcpy(dir, rest, len);
	dir[len] = '\0';
	*domid = (uint16_t)id;
	return 0;
}

int sr_run_address_dir(const char *address, char *dir, size_t size, uint16_t *domid,
		       struct sr_fail *f)
{
	const char *inner = strstr(address, "embedded"), *colon;
	char base[PATH_MAX];
	int ret;

	*domid = 0;
	/* faulty:SPEC:ADDRESS serves where ADDRESS is. */
	if (!strncmp(address, "faulty:", 7) && inner)
		address = inner;
	colon = strchr(address, ':');
	if (!strncmp(address, "embedded:", 9) || !strncmp(address, "embedded-strict:", 16))
		return embedded_dir(address, colon + 1, dir, size, domid, f);
	if (strcmp(address, "xen:"))
		return sr_fail(f, EINVAL,
			       "%s: no address of a hypervisor; use xen: or embedded:DIR", address);
	ret = sr_run_base(base, sizeof(base), f);
	if (ret)
		return ret;
	return (size_t)snprintf(dir, size, "%s/xen", base) < size ? 0 : fail_long(address, f);
}

int sr_run_make_dir(const char *dir, struct sr_fail *f)
{
	char parent[PATH_MAX];
	char *slash;

	if ((size_t)snprintf(parent, sizeof(parent), "%s", dir) >= sizeof(parent))
		return fail_long(dir, f);
	slash = strrchr(parent, '/');
	if (slash && slash != parent) {
		*slash = '\0';
		if (mkdir(parent, 0755) && errno != EEXIST)
			return sr_fail(f, errno, "%s: %m; make it, or set SPLITRING_RUN", parent);
	}
	if (mkdir(dir, 0700) && errno != EEXIST)
		return sr_fail(f, errno, "%s: %m; make it, or set SPLITRING_RUN", dir);
	return 0;
}
