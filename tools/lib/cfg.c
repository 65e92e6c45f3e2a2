/* SPDX-License-Identifier: MIT */
#include <tools/cfg.h>

#include "cfg_scan.h"

#include <libxlutil.h>

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Far above any configuration, far below what would hurt. */
#define MAX_TEXT (1u << 20)

struct sr_cfg {
	XLU_Config *xlu;
	char *name;
	char *text; /* the file and, a line each, what went over it */
	size_t len;
	unsigned file_lines; /* lines of .text that came from the file */
	char *report;        /* what libxlutil had to say */
	size_t report_len;
	FILE *report_file;
};

/* "FILE:3" for a line of the file, "argument 1" for a line that came from `more`. */
static const char *line_name(const struct sr_cfg *cfg, unsigned line, char *buf, size_t size)
{
	if (line > cfg->file_lines)
		snprintf(buf, size, "argument %u", line - cfg->file_lines);
	else
		snprintf(buf, size, "%s:%u", cfg->name, line);
	return buf;
}

/* Whether libxlutil would take `value` as it stands: a number, a list, or a string in quotes. */
static bool is_bare(const char *value)
{
	size_t digits = strspn(value, "0123456789");

	if (*value == '[' || *value == '"' || *value == '\'')
		return true;
	if (!strncmp(value, "0x", 2))
		digits = 2 + strspn(value + 2, "0123456789abcdefABCDEF");
	return digits && !value[digits];
}

static int add_override(FILE *out, const char *arg, struct sr_fail *f)
{
	const char *eq = strchr(arg, '='), *value;
	char quote;

	if (!eq || eq == arg || strchr(arg, '\n'))
		return sr_fail(f, EINVAL, "`%s': not a setting; write key=value", arg);
	value = eq + 1 + strspn(eq + 1, " \t");
	if (is_bare(value)) {
		fprintf(out, "%.*s=%s\n", (int)(eq - arg), arg, value);
		return 0;
	}
	quote = strchr(value, '"') ? '\'' : '"';
	if (strchr(value, quote))
		return sr_fail(f, EINVAL, "`%s': it holds both kinds of quotes; use a file", arg);
	fprintf(out, "%.*s=%c", (int)(eq - arg), arg, quote);
	for (; *value; value++)
		fprintf(out, *value == '\\' ? "\\\\" : "%c", *value);
	fprintf(out, "%c\n", quote);
	return 0;
}

/* .text and .file_lines from the file's text and the overrides. */
static int join_text(struct sr_cfg *cfg, const char *text, size_t len, const char *const *more,
		     struct sr_fail *f)
{
	FILE *out = open_memstream(&cfg->text, &cfg->len);
	int ret = 0;

	if (!out)
		return sr_fail(f, ENOMEM, "%s: out of memory; free some", cfg->name);
	fwrite(text, 1, len, out);
	/* libxlutil wants the last line to end, too. */
	if (len && text[len - 1] != '\n')
		fputc('\n', out);
	for (size_t i = 0; i < len; i++)
		cfg->file_lines += text[i] == '\n' || (i + 1 == len && text[i] != '\n');
	for (; more && *more && !ret; more++)
		ret = add_override(out, *more, f);
	if (fclose(out) && !ret)
		ret = sr_fail(f, ENOMEM, "%s: out of memory; free some", cfg->name);
	return ret;
}

/* What libxlutil reported, as ours: its lines are ":LINE: config parsing error near `X': WHY". */
static int fail_from_report(struct sr_cfg *cfg, struct sr_fail *f)
{
	static const char marker[] = "config parsing error ";
	unsigned line = 0;
	char where[512];
	const char *p;
	size_t len;

	fflush(cfg->report_file);
	p = cfg->report ? strstr(cfg->report, marker) : NULL;
	if (!p)
		return sr_fail(f, EINVAL, "%s: not a configuration; see xl.cfg(5) for the syntax",
			       cfg->name);
	for (const char *colon = p; colon > cfg->report; colon--) {
		if (colon[-1] == '\n')
			break;
		if (colon[-1] == ':')
			line = (unsigned)strtoul(colon, NULL, 10);
		if (line)
			break;
	}
	p += sizeof(marker) - 1;
	len = strcspn(p, "\n");
	return sr_fail(f, EINVAL, "%s: syntax error %.*s; see xl.cfg(5) for the syntax",
		       line_name(cfg, line, where, sizeof(where)), (int)len, p);
}

static const struct sr_cfg_key *find_key(const struct sr_cfg_key *keys, const char *name,
					 size_t len)
{
	for (; keys->name; keys++)
		if (strlen(keys->name) == len && !memcmp(keys->name, name, len))
			return keys;
	return NULL;
}

static int fail_unknown(const struct sr_cfg *cfg, const struct sr_cfg_key *keys, const char *key,
			size_t len, unsigned line, struct sr_fail *f)
{
	char where[512], known[512];
	size_t at = 0;

	known[0] = '\0';
	for (; keys->name && at < sizeof(known); keys++)
		at += (size_t)snprintf(known + at, sizeof(known) - at, "%s%s", at ? ", " : "",
				       keys->name);
	return sr_fail(f, EINVAL, "%s: unknown key `%.*s'; known are %s",
		       line_name(cfg, line, where, sizeof(where)), (int)len, key, known);
}

static const char *get_string(const struct sr_cfg *cfg, const char *key)
{
	const char *s;

	return xlu_cfg_get_string(cfg->xlu, key, &s, 1) ? NULL : s;
}

static bool parse_number(const char *s, long *value)
{
	char *end;

	errno = 0;
	*value = strtol(s, &end, 0);
	return !errno && end != s && !*end;
}

static bool parse_bool(const char *s, bool *value)
{
	static const char *const words[] = { "0", "1", "no", "yes", "off", "on", "false", "true" };

	for (unsigned i = 0; i < sizeof(words) / sizeof(*words); i++) {
		if (!strcmp(s, words[i])) {
			*value = i & 1;
			return true;
		}
	}
	return false;
}

static int check_list(const struct sr_cfg *cfg, const struct sr_cfg_key *key, struct sr_fail *f)
{
	XLU_ConfigList *list;
	int n;

	if (get_string(cfg, key->name))
		return 0;
	if (xlu_cfg_get_list(cfg->xlu, key->name, &list, &n, 1))
		return sr_cfg_fail(cfg, key->name, f, EINVAL,
				   "%s: not a list; write %s = [ \"...\" ]", key->name, key->name);
	for (int i = 0; i < n; i++)
		if (!xlu_cfg_get_listitem(list, i))
			return sr_cfg_fail(cfg, key->name, f, EINVAL,
					   "%s: entry %d is no string; write it in quotes",
					   key->name, i + 1);
	return 0;
}

static int check_value(const struct sr_cfg *cfg, const struct sr_cfg_key *key, struct sr_fail *f)
{
	const char *s;
	bool b;
	long n;

	if (key->type == SR_CFG_LIST)
		return check_list(cfg, key, f);
	s = get_string(cfg, key->name);
	if (!s)
		return sr_cfg_fail(cfg, key->name, f, EINVAL,
				   "%s: a list where one value belongs; write %s = \"...\"",
				   key->name, key->name);
	if (key->type == SR_CFG_NUMBER && (!parse_number(s, &n) || n < key->min || n > key->max))
		return sr_cfg_fail(cfg, key->name, f, EINVAL,
				   "%s: bad value `%s'; it has to be a number from %ld to %ld",
				   key->name, s, key->min, key->max);
	if (key->type == SR_CFG_BOOL && !parse_bool(s, &b))
		return sr_cfg_fail(cfg, key->name, f, EINVAL, "%s: bad value `%s'; write 1 or 0",
				   key->name, s);
	return 0;
}

static int check_keys(const struct sr_cfg *cfg, const struct sr_cfg_key *keys, struct sr_fail *f)
{
	const struct sr_cfg_key *key;
	struct sr_cfg_scan scan;
	unsigned line;
	const char *s;
	size_t len;
	int ret;

	sr_cfg_scan_init(&scan, cfg->text, cfg->len);
	while (sr_cfg_scan_next(&scan, &s, &len, &line)) {
		key = find_key(keys, s, len);
		if (!key)
			return fail_unknown(cfg, keys, s, len, line, f);
		ret = check_value(cfg, key, f);
		if (ret)
			return ret;
	}
	return 0;
}

int sr_cfg_parse(const char *name, const char *text, size_t len, const char *const *more,
		 const struct sr_cfg_key *keys, struct sr_cfg **out, struct sr_fail *f)
{
	struct sr_cfg *cfg;
	int ret;

	if (len > MAX_TEXT || memchr(text, '\0', len))
		return sr_fail(f, EINVAL,
			       "%s: not a text of less than 1 MiB; is it the right file?", name);
	cfg = calloc(1, sizeof(*cfg));
	if (!cfg)
		return sr_fail(f, ENOMEM, "%s: out of memory; free some", name);
	cfg->name = strdup(name);
	cfg->report_file = open_memstream(&cfg->report, &cfg->report_len);
	cfg->xlu = cfg->report_file ? xlu_cfg_init(cfg->report_file, "") : NULL;
	if (!cfg->name || !cfg->xlu) {
		ret = sr_fail(f, ENOMEM, "%s: out of memory; free some", name);
		goto out;
	}
	ret = join_text(cfg, text, len, more, f);
	if (ret)
		goto out;
	if (xlu_cfg_readdata(cfg->xlu, cfg->text, (int)cfg->len)) {
		ret = fail_from_report(cfg, f);
		goto out;
	}
	ret = check_keys(cfg, keys, f);
out:
	if (ret)
		sr_cfg_free(cfg);
	else
		*out = cfg;
	return ret;
}

int sr_cfg_read(const char *path, const char *const *more, const struct sr_cfg_key *keys,
		struct sr_cfg **cfg, struct sr_fail *f)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK), ret;
	struct stat st;
	size_t len = 0;
	char *text;
	ssize_t n = 1;

	if (fd < 0)
		return sr_fail(f, errno, "%s: %m; give the path of a readable file", path);
	text = malloc(MAX_TEXT + 1);
	if (!text) {
		ret = sr_fail(f, ENOMEM, "%s: out of memory; free some", path);
		goto out;
	}
	if (fstat(fd, &st) || !S_ISREG(st.st_mode)) {
		ret = sr_fail(f, EINVAL, "%s: not a regular file; give the path of one", path);
		goto out;
	}
	while (n > 0 && len <= MAX_TEXT) {
		n = read(fd, text + len, MAX_TEXT + 1 - len);
		len += n > 0 ? (size_t)n : 0;
	}
	ret = n < 0 ? sr_fail(f, errno, "%s: %m; give the path of a readable file", path)
		    : sr_cfg_parse(path, text, len, more, keys, cfg, f);
out:
	free(text);
	close(fd);
	return ret;
}

void sr_cfg_free(struct sr_cfg *cfg)
{
	if (!cfg)
		return;
	if (cfg->xlu)
		xlu_cfg_destroy(cfg->xlu);
	if (cfg->report_file)
		fclose(cfg->report_file);
	free(cfg->report);
	free(cfg->text);
	free(cfg->name);
	free(cfg);
}

bool sr_cfg_has(const struct sr_cfg *cfg, const char *key)
{
	return get_string(cfg, key) || !xlu_cfg_get_list(cfg->xlu, key, NULL, NULL, 1);
}

const char *sr_cfg_string(const struct sr_cfg *cfg, const char *key, const char *fallback)
{
	const char *s = get_string(cfg, key);

	return s ? s : fallback;
}

long sr_cfg_number(const struct sr_cfg *cfg, const char *key, long fallback)
{
	const char *s = get_string(cfg, key);
	long n;

	return s && parse_number(s, &n) ? n : fallback;
}

bool sr_cfg_bool(const struct sr_cfg *cfg, const char *key, bool fallback)
{
	const char *s = get_string(cfg, key);
	bool b;

	return s && parse_bool(s, &b) ? b : fallback;
}

size_t sr_cfg_count(const struct sr_cfg *cfg, const char *key)
{
	int n;

	if (get_string(cfg, key))
		return 1;
	return xlu_cfg_get_list(cfg->xlu, key, NULL, &n, 1) ? 0 : (size_t)n;
}

const char *sr_cfg_item(const struct sr_cfg *cfg, const char *key, size_t i)
{
	const char *s = get_string(cfg, key);
	XLU_ConfigList *list;

	if (s)
		return s;
	return xlu_cfg_get_list(cfg->xlu, key, &list, NULL, 1) ? NULL
							       : xlu_cfg_get_listitem(list, (int)i);
}

const char *sr_cfg_where(const struct sr_cfg *cfg, const char *key, char *buf, size_t size)
{
	struct sr_cfg_scan scan;
	unsigned line, found = 0;
	const char *s;
	size_t len;

	sr_cfg_scan_init(&scan, cfg->text, cfg->len);
	while (sr_cfg_scan_next(&scan, &s, &len, &line))
		if (strlen(key) == len && !memcmp(key, s, len))
			found = line;
	if (found)
		line_name(cfg, found, buf, size);
	else
		snprintf(buf, size, "%s", cfg->name);
	return buf;
}

int sr_cfg_fail(const struct sr_cfg *cfg, const char *key, struct sr_fail *f, int err,
		const char *fmt, ...)
{
	char where[512], what[1024];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(what, sizeof(what), fmt, ap);
	va_end(ap);
	return sr_fail(f, err, "%s: %s", sr_cfg_where(cfg, key, where, sizeof(where)), what);
}
