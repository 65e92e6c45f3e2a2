/* SPDX-License-Identifier: MIT */
#include <blkfront/vdev.h>
#include <tools/disk.h>

#include <libxlutil.h>

#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

const char *sr_disk_kind_name(enum sr_disk_kind kind)
{
	return kind == SR_DISK_QDISK ? "qdisk" : "vbd";
}

/* libxlutil reports "disk: config parsing error in disk specification: WHY: near `X' in `SPEC'". */
static int fail_from_report(const char *spec, const char *report, struct sr_fail *f)
{
	static const char marker[] = "disk specification: ";
	const char *why = report ? strstr(report, marker) : NULL;
	size_t len;

	if (!why)
		return sr_fail(f, EINVAL, "disk `%s': bad syntax; see xl-disk-configuration(5)",
			       spec);
	why += sizeof(marker) - 1;
	len = strcspn(why, "\n");
	/* Our line names the disk already. */
	for (size_t i = 0; i + 5 < len; i++) {
		if (!strncmp(why + i, " in `", 5)) {
			len = i;
			break;
		}
	}
	return sr_fail(f, EINVAL, "disk `%s': %.*s; see xl-disk-configuration(5)%s", spec, (int)len,
		       why, strchr(spec, ':') ? ", and write a driver as target=driver:..." : "");
}

static int parse(const char *spec, libxl_device_disk *xl, struct sr_fail *f)
{
	char *report = NULL;
	size_t len;
	FILE *file = open_memstream(&report, &len);
	XLU_Config *xlu = file ? xlu_cfg_init(file, "disk") : NULL;
	int ret = 0;

	if (!xlu)
		ret = sr_fail(f, ENOMEM, "disk `%s': out of memory; free some", spec);
	else if (xlu_disk_parse(xlu, 1, &spec, xl))
		ret = -EINVAL;
	if (file)
		fclose(file);
	if (ret == -EINVAL)
		fail_from_report(spec, report, f);
	if (xlu)
		xlu_cfg_destroy(xlu);
	free(report);
	return ret;
}

static int refuse_foreign(const char *spec, const libxl_device_disk *xl, struct sr_fail *f)
{
	if (xl->format != LIBXL_DISK_FORMAT_RAW && xl->format != LIBXL_DISK_FORMAT_UNKNOWN &&
	    xl->format != LIBXL_DISK_FORMAT_EMPTY)
		return sr_fail(f, EINVAL,
			       "disk `%s': format=%s is not served; convert the image to raw", spec,
			       libxl_disk_format_to_string(xl->format));
	if (xl->backend == LIBXL_DISK_BACKEND_TAP)
		return sr_fail(f, EINVAL,
			       "disk `%s': backendtype=tap is not served; use qdisk or phy", spec);
	if (xl->script)
		return sr_fail(f, EINVAL,
			       "disk `%s': script=%s can't run, a machine has no hotplug scripts; "
			       "leave it out",
			       spec, xl->script);
	return 0;
}

/* A word of letters, digits, '-', '_' and a colon: how a target names its driver. */
static bool names_driver(const char *target)
{
	size_t n = 0;

	while (isalnum((unsigned char)target[n]) || target[n] == '-' || target[n] == '_')
		n++;
	return n && target[n] == ':';
}

/* The daemon has another working directory than who types the command. */
static char *absolute(const char *target)
{
	char cwd[PATH_MAX], *path;

	if (!*target || *target == '/' || names_driver(target) || !getcwd(cwd, sizeof(cwd)))
		return strdup(target);
	return asprintf(&path, "%s/%s", cwd, target) < 0 ? NULL : path;
}

static int fill(const char *spec, const libxl_device_disk *xl, struct sr_disk *disk,
		struct sr_fail *f)
{
	const char *target = xl->pdev_path ? xl->pdev_path : "";

	if (sr_vdev_parse(xl->vdev, &disk->number))
		return sr_fail(f, EINVAL, "disk `%s': vdev=%s is no virtual disk; use xvda to xvdz",
			       spec, xl->vdev);
	if (!*target && !xl->is_cdrom)
		return sr_fail(f, EINVAL, "disk `%s': no target; add target=PATH", spec);
	disk->kind = xl->backend == LIBXL_DISK_BACKEND_QDISK ? SR_DISK_QDISK : SR_DISK_VBD;
	disk->target = absolute(target);
	disk->vdev = strdup(xl->vdev);
	disk->backend = xl->backend_domname ? strdup(xl->backend_domname) : NULL;
	if (!disk->target || !disk->vdev || (xl->backend_domname && !disk->backend))
		return sr_fail(f, ENOMEM, "disk `%s': out of memory; free some", spec);
	disk->writable = xl->readwrite;
	disk->cdrom = xl->is_cdrom;
	disk->removable = xl->removable;
	disk->discard =
	    libxl_defbool_is_default(xl->discard_enable) || libxl_defbool_val(xl->discard_enable);
	disk->direct_io_safe = xl->direct_io_safe;
	return 0;
}

int sr_disk_parse(const char *spec, struct sr_disk *disk, struct sr_fail *f)
{
	libxl_device_disk xl;
	int ret;

	*disk = (struct sr_disk){ 0 };
	/* libxlutil's scanner has no rule for a newline and would end the whole process. */
	for (const char *p = spec; *p; p++)
		if (iscntrl((unsigned char)*p))
			return sr_fail(f, EINVAL, "disk `%s': a control character; write one line",
				       spec);
	libxl_device_disk_init(&xl);
	ret = parse(spec, &xl, f);
	if (!ret)
		ret = refuse_foreign(spec, &xl, f);
	if (!ret)
		ret = fill(spec, &xl, disk, f);
	if (ret)
		sr_disk_free(disk);
	libxl_device_disk_dispose(&xl);
	return ret;
}

void sr_disk_free(struct sr_disk *disk)
{
	free(disk->target);
	free(disk->vdev);
	free(disk->backend);
	*disk = (struct sr_disk){ 0 };
}
