/* SPDX-License-Identifier: ISC */
/*
 * The command line of a mount. The options are one table: a name, whether a
 * value must follow, and what takes it. Values keep their backslashes until
 * the list they stand in is split, as in kernel overlayfs, so that "\:" and
 * "\," reach the path they belong to.
 */
#include "options.h"

#include <err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct parsing {
	struct options *opt;
	const char *name; /* of the option being read, for messages */
	bool nofail;
};

struct option {
	const char *name;
	enum { NO_VALUE, NEEDS_VALUE, ANY_VALUE } value;
	void (*take)(struct parsing *p, const char *value);
};

static char *need(char *p)
{
	if (p == NULL)
		err(1, NULL);
	return p;
}

const char *options_show(const char *text)
{
	static char buffers[2][4096];
	static unsigned next;
	char *copy = buffers[next++ % 2];

	strlcpy(copy, text, sizeof(buffers[0]));
	for (char *p = copy; *p != '\0'; p++)
		if ((unsigned char)*p < ' ' || *p == 127)
			*p = '?';
	return copy;
}

/* Remove backslashes: what follows one stands for itself. In place. */
static char *unescape(char *s)
{
	char *to = s;

	for (char *p = s; *p != '\0'; p++) {
		if (*p == '\\' && p[1] != '\0')
			p++;
		*to++ = *p;
	}
	*to = '\0';
	return s;
}

/* Cut the next element off a list whose separators may be escaped. */
static char *next_element(char **list, char separator)
{
	char *start = *list, *p = start;

	if (start == NULL)
		return NULL;
	for (; *p != '\0' && *p != separator; p++)
		if (*p == '\\' && p[1] != '\0')
			p++;
	*list = *p == '\0' ? NULL : p + 1;
	*p = '\0';
	return start;
}

static long long number(struct parsing *p, const char *value, long long max)
{
	const char *error;
	long long n = strtonum(value, 0, max, &error);

	if (error != NULL)
		errx(1, "option %s=%s: the number is %s", p->name, options_show(value), error);
	return n;
}

static bool on_off(struct parsing *p, const char *value)
{
	if (strcmp(value, "on") == 0)
		return true;
	if (strcmp(value, "off") != 0)
		errx(1, "option %s=%s: must be on or off", p->name, options_show(value));
	return false;
}

static char *path_value(struct parsing *p, const char *value, const char *before)
{
	if (*value == '\0')
		errx(1, "option %s: the path is empty", p->name);
	if (before != NULL)
		errx(1, "option %s: given twice", p->name);
	return unescape(need(strdup(value)));
}

static void add_lowers(struct options *opt, const char *name, const char *value)
{
	char *list = need(strdup(value)), *path;

	if (opt->nlower > 0)
		errx(1, "option %s: given twice", name);
	while ((path = next_element(&list, ':')) != NULL) {
		if (*path == '\0')
			errx(1, "option %s: a path is empty", name);
		opt->lower = reallocarray(opt->lower, opt->nlower + 1, sizeof(*opt->lower));
		if (opt->lower == NULL)
			err(1, NULL);
		opt->lower[opt->nlower++] = unescape(path);
	}
}

static void take_lowerdir(struct parsing *p, const char *value)
{
	add_lowers(p->opt, p->name, value);
}

static void take_upperdir(struct parsing *p, const char *value)
{
	p->opt->upper = path_value(p, value, p->opt->upper);
}

static void take_workdir(struct parsing *p, const char *value)
{
	p->opt->work = path_value(p, value, p->opt->work);
}

static void take_whiteout(struct parsing *p, const char *value)
{
	static const char *const formats[] = {"wh", "chardev", "xattr"};

	for (unsigned i = 0; i < 3; i++) {
		if (strcmp(value, formats[i]) == 0) {
			p->opt->format = (enum whiteout_format)i;
			return;
		}
	}
	errx(1, "option %s=%s: must be wh, chardev or xattr", p->name, options_show(value));
}

static void take_redirect_dir(struct parsing *p, const char *value)
{
	p->opt->redirect_dir = on_off(p, value);
}

static void take_timeout(struct parsing *p, const char *value)
{
	char *end;
	double seconds = strtod(value, &end);

	if (end == value || *end != '\0' || !(seconds >= 0 && seconds <= 1e9))
		errx(1, "option %s=%s: must be a number of seconds", p->name, options_show(value));
	p->opt->timeout = seconds;
}

static void take_volatile(struct parsing *p, const char *value)
{
	(void)value;
	p->opt->is_volatile = true;
}

/* fuse-overlayfs: fsync=0 leaves it out, fsync=1 is the default. */
static void take_fsync(struct parsing *p, const char *value)
{
	p->opt->is_volatile = number(p, value, 1) == 0;
}

static void take_noacl(struct parsing *p, const char *value)
{
	(void)value;
	p->opt->noacl = true;
}

static void take_squash_uid(struct parsing *p, const char *value)
{
	p->opt->squash_uid = (uid_t)number(p, value, 0xfffffffe);
}

static void take_squash_gid(struct parsing *p, const char *value)
{
	p->opt->squash_gid = (gid_t)number(p, value, 0xfffffffe);
}

static void take_squash_root(struct parsing *p, const char *value)
{
	(void)value;
	p->opt->squash_uid = 0;
	p->opt->squash_gid = 0;
}

static void take_threads(struct parsing *p, const char *value)
{
	p->opt->max_threads = (int)number(p, value, 1000);
	if (p->opt->max_threads == 0)
		errx(1, "option %s=%s: at least one thread is needed", p->name,
		     options_show(value));
}

static void take_clone_fd(struct parsing *p, const char *value)
{
	(void)value;
	p->opt->clone_fd = true;
}

static void take_debug(struct parsing *p, const char *value)
{
	(void)value;
	p->opt->debug = p->opt->foreground = true;
}

/* Accepted, and without a meaning here. */
static void ignore(struct parsing *p, const char *value)
{
	(void)p;
	(void)value;
}

/* Options that would promise what this program does not do are refused. */
static void ignore_off(struct parsing *p, const char *value)
{
	if (strcmp(value, "off") != 0)
		errx(1, "option %s=%s: only off is supported", p->name, options_show(value));
}

static void pass(struct parsing *p, const char *value)
{
	char *all;

	if (asprintf(&all, "%s%s%s%s%s", p->opt->fuse == NULL ? "" : p->opt->fuse,
		     p->opt->fuse == NULL ? "" : ",", p->name, value == NULL ? "" : "=",
		     value == NULL ? "" : value) == -1)
		err(1, NULL);
	free(p->opt->fuse);
	p->opt->fuse = all;
}

static void pass_allow(struct parsing *p, const char *value)
{
	p->opt->allow_other = true;
	pass(p, value);
}

static const struct option options[] = {
	{"lowerdir", NEEDS_VALUE, take_lowerdir},
	{"upperdir", NEEDS_VALUE, take_upperdir},
	{"workdir", NEEDS_VALUE, take_workdir},
	{"whiteout", NEEDS_VALUE, take_whiteout},
	{"redirect_dir", NEEDS_VALUE, take_redirect_dir},
	{"timeout", NEEDS_VALUE, take_timeout},
	{"volatile", NO_VALUE, take_volatile},
	{"fsync", NEEDS_VALUE, take_fsync},
	{"noacl", NO_VALUE, take_noacl},
	{"squash_to_uid", NEEDS_VALUE, take_squash_uid},
	{"squash_to_gid", NEEDS_VALUE, take_squash_gid},
	{"squash_to_root", NO_VALUE, take_squash_root},
	{"max_threads", NEEDS_VALUE, take_threads},
	{"clone_fd", NO_VALUE, take_clone_fd},
	{"debug", NO_VALUE, take_debug},
	/* of other overlays */
	{"xino", NEEDS_VALUE, ignore},
	{"index", NEEDS_VALUE, ignore},
	{"userxattr", NO_VALUE, ignore},
	{"metacopy", NEEDS_VALUE, ignore_off},
	{"nfs_export", NEEDS_VALUE, ignore_off},
	{"ino32_t", NO_VALUE, ignore},
	{"static_nlink", NO_VALUE, ignore},
	{"fast_ino", ANY_VALUE, ignore},
	{"threaded", NEEDS_VALUE, ignore},
	{"writeback", NEEDS_VALUE, ignore},
	{"max_idle_threads", NEEDS_VALUE, ignore},
	/* of FUSE */
	{"allow_other", NO_VALUE, pass_allow},
	{"allow_root", NO_VALUE, pass_allow},
	{"default_permissions", NO_VALUE, ignore}, /* always on */
	{"fsname", NEEDS_VALUE, pass},
	{"subtype", NEEDS_VALUE, ignore},
	{"blksize", NEEDS_VALUE, ignore},
	/* of mount(8) */
	{"ro", NO_VALUE, pass},
	{"rw", NO_VALUE, pass},
	{"suid", NO_VALUE, pass},
	{"nosuid", NO_VALUE, pass},
	{"dev", NO_VALUE, pass},
	{"nodev", NO_VALUE, pass},
	{"exec", NO_VALUE, pass},
	{"noexec", NO_VALUE, pass},
	{"atime", NO_VALUE, pass},
	{"noatime", NO_VALUE, pass},
	{"nodiratime", NO_VALUE, pass},
	{"sync", NO_VALUE, pass},
	{"async", NO_VALUE, pass},
	{"dirsync", NO_VALUE, pass},
	{"auto", NO_VALUE, ignore},
	{"noauto", NO_VALUE, ignore},
	{"user", ANY_VALUE, ignore},
	{"nouser", NO_VALUE, ignore},
	{"users", NO_VALUE, ignore},
	{"owner", NO_VALUE, ignore},
	{"group", NO_VALUE, ignore},
	{"defaults", NO_VALUE, ignore},
	{"relatime", NO_VALUE, ignore},
	{"norelatime", NO_VALUE, ignore},
	{"strictatime", NO_VALUE, ignore},
	{"nofail", NO_VALUE, ignore},
	{"_netdev", NO_VALUE, ignore},
	{"comment", NEEDS_VALUE, ignore},
};

static void take_option(struct parsing *p, char *text)
{
	char *value = strchr(text, '=');

	if (value != NULL)
		*value++ = '\0';
	if (strncmp(text, "x-", 2) == 0 || *text == '\0')
		return; /* x-systemd.* and the like speak to others */
	p->name = text;
	for (size_t i = 0; i < sizeof(options) / sizeof(options[0]); i++) {
		const struct option *opt = &options[i];

		if (strcmp(text, opt->name) != 0)
			continue;
		if (opt->value == NEEDS_VALUE && value == NULL)
			errx(1, "option %s: a value is missing", text);
		if (opt->value == NO_VALUE && value != NULL)
			errx(1, "option %s=%s: it takes no value", text, options_show(value));
		opt->take(p, value);
		return;
	}
	errx(1, "unknown option: %s", options_show(text));
}

static void take_options(struct parsing *p, const char *text)
{
	char *copy = need(strdup(text)), *list = copy, *option;

	while ((option = next_element(&list, ',')) != NULL)
		take_option(p, option);
	free(copy);
}

/* What remains: [SOURCE or LOWERS] MOUNTPOINT. */
static void take_positional(struct options *opt, int argc, char *argv[])
{
	if (argc == 0)
		errx(1, "the mount point is missing; try overlayfs -h");
	opt->mountpoint = argv[argc - 1];
	if (argc > 2)
		errx(1, "too many arguments: %s", options_show(argv[2]));
	/* With lowerdir= the first is mount(8)'s source, which means nothing. */
	if (argc == 2 && opt->nlower == 0)
		add_lowers(opt, "lower directories", argv[0]);
	if (opt->nlower == 0)
		errx(1, "no lower directory: give LOWER before %s, or -o lowerdir=",
		     options_show(argv[0]));
}

static void check(const struct options *opt)
{
	if (opt->tmp && opt->upper != NULL)
		errx(1, "--tmp and upperdir exclude each other");
	if (opt->work != NULL && opt->upper == NULL)
		errx(1, "workdir %s: there is no upperdir", options_show(opt->work));
	if (opt->is_volatile && opt->upper == NULL && !opt->tmp)
		errx(1, "volatile: there is no upperdir");
}

/* getopt(3) takes options behind the arguments too, as mount.fuse3 gives them. */
void options_parse(struct options *opt, int argc, char *argv[])
{
	struct parsing p = {.opt = opt};
	char *rest[3];
	int nrest = 0;

	*opt = (struct options){.timeout = TIMEOUT_NEVER,
				.redirect_dir = true,
				.squash_uid = (uid_t)-1,
				.squash_gid = (gid_t)-1,
				.max_threads = 8};
	for (int i = 1; i < argc; i++) {
		char *a = argv[i];
		bool last = i + 1 == argc;

		if (a[0] != '-' || a[1] == '\0') {
			if (nrest < 3)
				rest[nrest++] = a;
			else
				errx(1, "too many arguments: %s", options_show(a));
		} else if (strcmp(a, "--tmp") == 0) {
			opt->tmp = opt->is_volatile = true;
		} else if (strcmp(a, "-f") == 0) {
			opt->foreground = true;
		} else if (strcmp(a, "-d") == 0) {
			opt->debug = opt->foreground = true;
		} else if (strncmp(a, "-o", 2) == 0 && (a[2] != '\0' || !last)) {
			take_options(&p, a[2] != '\0' ? a + 2 : argv[++i]);
		} else if (strncmp(a, "-u", 2) == 0 && (a[2] != '\0' || !last)) {
			p.name = "-u";
			if (opt->upper != NULL)
				errx(1, "-u: the upper directory is given twice");
			opt->upper = need(strdup(a[2] != '\0' ? a + 2 : argv[++i]));
		} else if (strcmp(a, "-o") == 0 || strcmp(a, "-u") == 0) {
			errx(1, "option %s: a value is missing", a);
		} else if (strcmp(a, "-s") != 0 && strcmp(a, "-n") != 0 && strcmp(a, "-v") != 0) {
			errx(1, "unknown option: %s", options_show(a));
		}
	}
	take_positional(opt, nrest, rest);
	check(opt);
}
