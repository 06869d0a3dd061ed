/* SPDX-License-Identifier: ISC */
/*
 * Filters. A pattern is matched name by name: fnmatch(3) does the names, and
 * only "**" needs more than one of them.
 */
#include "filter.h"

#include <err.h>
#include <errno.h>
#include <fnmatch.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "options.h"

struct pattern {
	char *text; /* without what the flags say */
	bool negated;
	bool anchored;
	bool dirs_only;
};

/* Match a pattern with '/' against a path, both without '/' in front. */
static bool match_path(const char *pattern, const char *path)
{
	const char *p_end = strchrnul(pattern, '/'), *s_end = strchrnul(path, '/');
	char name[256], part[4096];

	if (strncmp(pattern, "**", 2) == 0 && p_end == pattern + 2) {
		if (*p_end == '\0') /* everything inside, but not the directory itself */
			return *path != '\0';
		for (const char *s = path;; s = strchrnul(s, '/') + 1) {
			if (match_path(p_end + 1, s))
				return true;
			if (*strchrnul(s, '/') == '\0')
				return false;
		}
	}
	if ((size_t)(s_end - path) >= sizeof(name) || (size_t)(p_end - pattern) >= sizeof(part))
		return false;
	memcpy(name, path, (size_t)(s_end - path));
	name[s_end - path] = '\0';
	memcpy(part, pattern, (size_t)(p_end - pattern));
	part[p_end - pattern] = '\0';
	if (fnmatch(part, name, 0) != 0)
		return false;
	if (*p_end == '\0' || *s_end == '\0')
		return *p_end == *s_end;
	return match_path(p_end + 1, s_end + 1);
}

/* path: of the file or of a directory above it, without '/' in front. */
static bool matches(const struct pattern *p, const char *path, bool isdir)
{
	const char *slash = strrchr(path, '/');

	if (p->dirs_only && !isdir)
		return false;
	if (p->anchored)
		return match_path(p->text, path);
	return fnmatch(p->text, slash == NULL ? path : slash + 1, 0) == 0;
}

/* Cut what is not part of the pattern itself. */
static int parse(struct pattern *p, const char *text, bool negatable)
{
	size_t len = strlen(text);

	*p = (struct pattern){0};
	if (negatable && *text == '!') {
		p->negated = true;
		text++;
		len--;
	}
	if (len > 0 && text[len - 1] == '/') {
		p->dirs_only = true;
		len--;
	}
	p->anchored = memchr(text, '/', len) != NULL;
	if (len > 0 && *text == '/') {
		text++;
		len--;
	}
	if (len == 0)
		return -EINVAL;
	p->text = strndup(text, len);
	return p->text == NULL ? -ENOMEM : 0;
}

static int add(struct pattern **list, size_t *n, const char *text, bool negatable)
{
	struct pattern *all = reallocarray(*list, *n + 1, sizeof(*all));
	int r;

	if (all == NULL)
		return -ENOMEM;
	*list = all;
	r = parse(&all[*n], text, negatable);
	if (r == 0)
		(*n)++;
	return r;
}

int filter_exclude(struct filter *f, const char *glob)
{
	return add(&f->exclude, &f->nexclude, glob, false);
}

int filter_include(struct filter *f, const char *glob)
{
	return add(&f->include, &f->ninclude, glob, false);
}

int filter_empty_in(struct filter *f, const char *dir)
{
	char **all = reallocarray(f->empty_in, f->nempty_in + 1, sizeof(*all));
	size_t len = strlen(dir);

	if (all == NULL)
		return -ENOMEM;
	f->empty_in = all;
	while (len > 0 && dir[len - 1] == '/')
		len--;
	if (asprintf(&all[f->nempty_in], "%s%.*s", *dir == '/' ? "" : "/", (int)len, dir) == -1)
		return -ENOMEM;
	f->nempty_in++;
	return 0;
}

/* gitignore(5): spaces at the end do not count unless a backslash is before one. */
static void strip(char *line)
{
	size_t len = strlen(line);

	while (len > 0 && line[len - 1] == ' ' && !(len > 1 && line[len - 2] == '\\'))
		line[--len] = '\0';
}

int filter_read(struct filter *f, const char *path)
{
	FILE *in = strcmp(path, "-") == 0 ? stdin : fopen(path, "re");
	char *line = NULL;
	size_t size = 0;
	int r = 0;

	if (in == NULL)
		return -errno;
	while (r == 0 && getline(&line, &size, in) != -1) {
		line[strcspn(line, "\n")] = '\0';
		strip(line);
		if (line[0] == '\0' || line[0] == '#')
			continue;
		r = add(&f->exclude, &f->nexclude, line, true);
		if (r == -EINVAL) /* "/" and "!" match nothing */
			r = 0;
	}
	if (r == 0 && ferror(in))
		r = errno != 0 ? -errno : -EIO;
	free(line);
	if (in != stdin)
		fclose(in);
	return r;
}

int filter_option(struct filter *f, int c, const char *value)
{
	int r = 0;

	if (c == FILTER_EXCLUDE)
		r = filter_exclude(f, value);
	else if (c == FILTER_INCLUDE)
		r = filter_include(f, value);
	else if (c == FILTER_FILE)
		r = filter_read(f, value);
	else if (c == FILTER_EMPTY_IN)
		r = filter_empty_in(f, value);
	else if (c == FILTER_ROOTFS)
		f->rootfs = true;
	else
		f->files_only = true;
	if (r == 0)
		return 0;
	if (r == -EINVAL && c != FILTER_FILE)
		warnx("the pattern %s matches nothing", options_show(value));
	else
		warnc(-r, "%s", options_show(value));
	return -1;
}

static bool excluded(const struct filter *f, const char *path, bool isdir)
{
	for (size_t i = f->nexclude; i > 0; i--)
		if (matches(&f->exclude[i - 1], path, isdir))
			return !f->exclude[i - 1].negated;
	return false;
}

static bool included(const struct filter *f, const char *path, bool isdir)
{
	for (size_t i = 0; i < f->ninclude; i++)
		if (matches(&f->include[i], path, isdir))
			return true;
	return false;
}

/* What a root file system has of the machine it runs on. */
static bool of_machine(const char *path, const struct stat *st, bool added)
{
	static const char *const dirs[] = {"boot", "dev", "lost+found", "media", "mnt",
					   "proc", "run", "sys",	"tmp"};

	for (size_t i = 0; i < sizeof(dirs) / sizeof(dirs[0]); i++) {
		size_t len = strlen(dirs[i]);

		if (strncmp(path, dirs[i], len) == 0 && (path[len] == '/' || path[len] == '\0'))
			return true;
	}
	/* A stub that something was mounted on, or that hides a file. */
	return added && (st->st_mode & 07777) == 0 &&
	       (S_ISDIR(st->st_mode) || (S_ISREG(st->st_mode) && st->st_size == 0));
}

static bool empty_stub(const struct filter *f, const char *path, const struct stat *st)
{
	size_t len = (size_t)(strrchr(path, '/') - path);

	if (!S_ISREG(st->st_mode) || st->st_size != 0)
		return false;
	for (size_t i = 0; i < f->nempty_in; i++)
		if (strlen(f->empty_in[i]) == len && strncmp(f->empty_in[i], path, len) == 0)
			return true;
	return false;
}

bool filter_leaves_out(const struct filter *f, const char *path, const struct stat *st, bool added)
{
	bool isdir = S_ISDIR(st->st_mode), wanted = f->ninclude == 0, out = false;
	char *copy;

	if ((f->rootfs && of_machine(path + 1, st, added)) || empty_stub(f, path, st) ||
	    (f->files_only && !S_ISREG(st->st_mode)))
		return true;
	if (f->nexclude == 0 && f->ninclude == 0)
		return false;
	copy = strdup(path + 1);
	if (copy == NULL)
		return true;
	/* From the top: a directory that is left out takes all below it along. */
	for (char *p = copy; !out; p++) {
		char c = *p;

		if (c != '/' && c != '\0')
			continue;
		*p = '\0';
		out = excluded(f, copy, c == '/' || isdir);
		wanted = wanted || included(f, copy, c == '/' || isdir);
		*p = c;
		if (c == '\0')
			break;
	}
	free(copy);
	return out || !wanted;
}

bool filter_is_empty(const struct filter *f)
{
	return f->nexclude == 0 && f->ninclude == 0 && f->nempty_in == 0 && !f->rootfs &&
	       !f->files_only;
}

static void free_patterns(struct pattern *list, size_t n)
{
	for (size_t i = 0; i < n; i++)
		free(list[i].text);
	free(list);
}

void filter_destroy(struct filter *f)
{
	free_patterns(f->exclude, f->nexclude);
	free_patterns(f->include, f->ninclude);
	for (size_t i = 0; i < f->nempty_in; i++)
		free(f->empty_in[i]);
	free(f->empty_in);
	*f = (struct filter){0};
}
