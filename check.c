/* SPDX-License-Identifier: ISC */
/*
 * The command "check". Left-overs in the work directory are looked for before
 * the target is opened for writing, which removes them as a mount does. An
 * interrupted commit comes next, as the rest can be judged only without one.
 */
#include "check.h"

#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "inspect.h"
#include "journal.h"
#include "options.h"
#include "place.h"
#include "show.h"
#include "tidy.h"
#include "whiteout.h"

#define USAGE "check [--format FORMAT] [--repair | --convert FORMAT] TARGET"

/* fsck(8) */
enum { CLEAN = 0, CORRECTED = 1, UNCORRECTED = 4, OPERATIONAL = 8, USAGE_ERROR = 16 };

enum { REPAIR = 0x100, CONVERT, FORMAT };

static const struct option options[] = {
	{"repair", no_argument, NULL, REPAIR},
	{"convert", required_argument, NULL, CONVERT},
	{"format", required_argument, NULL, FORMAT},
	{0},
};

struct list {
	char **name;
	size_t n;
};

struct check {
	struct target t;
	bool repair;
	bool convert;
	bool formatted;
	enum whiteout_format format;

	int status;
	struct list stale; /* of the index, before the target was opened for writing */
};

static void say(const char *path, const char *what)
{
	show_path(stdout, path);
	printf(": %s\n", what);
}

/* r: of repairing it, if that is wanted. */
static void found(void *arg, const char *path, const char *what, int r)
{
	struct check *c = arg;

	for (size_t i = 0; i < c->stale.n; i++)
		if (strcmp(c->stale.name[i], path) == 0)
			*c->stale.name[i] = '\0'; /* it is being said */
	say(path, what);
	if (r != 0)
		warnc(-r, "%s: not repaired", options_show(path));
	c->status |= r == 0 && (c->repair || c->convert) ? CORRECTED : UNCORRECTED;
}

static int fail(const struct target *t, const char *path, int r)
{
	warnc(-r, "%s: %s", t->label, options_show(path != NULL ? path : "/"));
	return OPERATIONAL;
}

/* The work directory. */

static void found_in_work(struct check *c, const char *name, const char *what, int r)
{
	char *path;

	if (asprintf(&path, "%s/%s", c->t.work != NULL ? c->t.work : "/" WHITEOUT_WORK, name) == -1)
		err(OPERATIONAL, NULL);
	found(c, path, what, r);
	free(path);
}

static int add(struct list *l, const char *name)
{
	char **list = reallocarray(l->name, l->n + 1, sizeof(*list));

	if (list == NULL)
		return -ENOMEM;
	l->name = list;
	list[l->n] = strdup(name);
	return list[l->n++] == NULL ? -ENOMEM : 0;
}

static int see_work(void *arg, const char *name, unsigned char type, ino_t ino)
{
	(void)type;
	(void)ino;
	return name[0] == '#' || strcmp(name, JOURNAL_FILE ".new") == 0 ? add(arg, name) : 0;
}

static int compare_names(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static int open_work(const struct target *t)
{
	int fd, upper = open(t->upper, O_PATH | O_DIRECTORY | O_CLOEXEC);
	struct at work = {upper, WHITEOUT_WORK};

	if (upper == -1)
		return -errno;
	if (t->work != NULL)
		work = (struct at){AT_FDCWD, t->work};
	fd = at_open(work, O_RDONLY | O_DIRECTORY, 0);
	close(upper);
	return fd;
}

/* The work directory as a crash left it. Sets *is_volatile when nothing else may be done. */
static int look_at_work(struct check *c, struct list *l, bool *is_volatile)
{
	int r, fd = open_work(&c->t);

	*is_volatile = false;
	if (fd < 0) /* there is none; or opening the target will complain */
		return 0;
	*is_volatile = faccessat(fd, "volatile", F_OK, AT_SYMLINK_NOFOLLOW) == 0;
	r = at_list(fd, see_work, l);
	close(fd);
	if (l->n > 0)
		qsort(l->name, l->n, sizeof(*l->name), compare_names);
	return r;
}

/* After the target was opened, which has removed most of it. */
static void report_left_overs(struct check *c, struct list *l)
{
	for (size_t i = 0; i < l->n; i++) {
		struct at a = {c->t.o.workfd, l->name[i]};

		/* With a journal, its next version is part of that. */
		if (!c->convert && (*l->name[i] == '#' || !journal_exists(a.fd)))
			found_in_work(c, l->name[i], "left over in the work directory",
				      c->repair ? at_remove_tree(a) : 0);
		free(l->name[i]);
	}
	free(l->name);
}

/* The index. Opening it for writing removes some of what is to be found. */

static void remember_stale(void *arg, const char *path, const char *what, int r)
{
	(void)what;
	(void)r;
	if (add(arg, path) != 0)
		err(OPERATIONAL, NULL);
}

static int look_at_index(struct check *c)
{
	struct inspect x = {
		.t = &c->t, .look = INSPECT_INDEX, .each = remember_stale, .arg = &c->stale};
	int r = 0;

	if (targets_open(&c->t, TARGET_READ) != 0)
		return OPERATIONAL;
	if (c->t.o.workfd < 0 || !journal_exists(c->t.o.workfd))
		r = inspect_upper(&x);
	if (r != 0)
		r = fail(&c->t, x.failed, r);
	free(x.failed);
	targets_shut(&c->t);
	return r;
}

static void report_stale(struct check *c)
{
	struct list l = c->stale;

	c->stale = (struct list){0};
	for (size_t i = 0; i < l.n; i++) {
		if (*l.name[i] != '\0')
			found(c, l.name[i], INSPECT_STALE, 0);
		free(l.name[i]);
	}
	free(l.name);
}

/* What a finished commit has brought into the lower goes from the upper, as at its own end. */
static int tidy_target(struct target *t)
{
	struct changes changes;
	struct tidied done = {0};
	int r = changes_collect(t, CHANGES_TIMES | CHANGES_SAME | CHANGES_UNLOCK, &changes);

	if (r == 0)
		r = tidy_upper(t, &changes, false, NULL, NULL, &done);
	free(done.failed);
	changes_destroy(&changes);
	return r;
}

/* An interrupted commit. Returns whether the rest can be looked at. */
static bool see_journal(struct check *c)
{
	const char *what = "a commit was interrupted";
	char *path = NULL;
	int r = 0;

	if (c->t.o.workfd < 0 || !journal_exists(c->t.o.workfd))
		return true;
	if (c->repair) {
		r = place_recover(&c->t, &path);
		if (r > 0)
			what = r == PLACE_FINISHED ? "a commit was interrupted: finished"
						   : "a commit was interrupted: undone";
		if (r == PLACE_FINISHED)
			r = tidy_target(&c->t);
	}
	if (r == -ESTALE)
		warnx("%s: the commit went to %s, which is not among the lowers", c->t.label,
		      path != NULL ? options_show(path) : "another lower");
	else if (r == -EINVAL)
		warnx("%s: the journal is damaged", c->t.label);
	found_in_work(c, JOURNAL_FILE, what, r < 0 ? r : c->convert ? -EALREADY : 0);
	free(path);
	return c->repair && r >= 0;
}

/* All of it. */

static int check_open(struct check *c)
{
	bool write = c->repair || c->convert;
	struct inspect x = {.t = &c->t,
			    .look = INSPECT_FORMS,
			    .repair = write,
			    .bare = !c->formatted,
			    .each = found,
			    .arg = c};
	int r;

	c->t.o.format = c->format;
	if (!see_journal(c))
		return c->status;
	if (!c->convert)
		x.look = INSPECT_WHITEOUTS | INSPECT_REDIRECTS | INSPECT_INDEX |
			 (c->formatted ? INSPECT_FORMS : 0);
	if (write && x.look & INSPECT_FORMS && c->format == WHITEOUT_XATTR && !c->t.o.xattrs) {
		warnx("%s: the upper cannot have extended attributes", c->t.label);
		return c->status | OPERATIONAL;
	}
	r = inspect_upper(&x);
	if (r != 0)
		c->status |= fail(&c->t, x.failed, r);
	free(x.failed);
	report_stale(c);
	return c->status;
}

/* A daemon that was just unmounted may still be about to end. */
static long wait_for_user(const struct target *t)
{
	enum { TRIES = 100 };
	long owner = targets_user(t);

	for (int i = 0; owner != 0 && i < TRIES; i++) {
		poll(NULL, 0, 10);
		owner = targets_user(t);
	}
	return owner;
}

static int check_target(struct check *c)
{
	struct list l = {0};
	bool is_volatile;
	long owner = wait_for_user(&c->t);
	int r;

	if (owner != 0) {
		if (owner > 0)
			warnx("%s: in use by process %ld", c->t.label, owner);
		else
			warnx("%s: in use by another process", c->t.label);
		return OPERATIONAL;
	}
	r = look_at_work(c, &l, &is_volatile);
	if (r != 0)
		return fail(&c->t, WHITEOUT_WORK, r);
	if (is_volatile) {
		c->status = UNCORRECTED;
		report_left_overs(&(struct check){.convert = true}, &l);
		say("/" WHITEOUT_WORK "/volatile",
		    "a volatile mount did not end cleanly; check the files and remove this one");
		return c->status;
	}
	if (c->repair && (r = look_at_index(c)) != 0)
		return r;
	if (targets_open(&c->t, c->repair || c->convert ? TARGET_WRITE : TARGET_READ) != 0)
		return OPERATIONAL;
	report_left_overs(c, &l);
	return check_open(c);
}

/* The command line. */

static int take_format(struct check *c, const char *value)
{
	static const char *const names[] = {"wh", "chardev", "xattr"};

	unsigned i = 0;

	while (i < 3 && strcmp(value, names[i]) != 0)
		i++;
	if (i == 3) {
		warnx("%s: the form must be wh, chardev or xattr", options_show(value));
		return -1;
	}
	if (c->formatted && c->format != (enum whiteout_format)i) {
		warnx("--format and --convert name two different forms");
		return -1;
	}
	c->format = (enum whiteout_format)i;
	c->formatted = true;
	return 0;
}

static int parse(struct check *c, int argc, char *argv[])
{
	int opt, r = 0;

	argv[0] = (char *)"overlayfs check";
	while (r == 0 && (opt = getopt_long(argc, argv, TARGETS_OPTIONS, options, NULL)) != -1) {
		if (opt == REPAIR)
			c->repair = true;
		else if (opt == '?')
			r = -1;
		else if (opt == CONVERT || opt == FORMAT)
			r = take_format(c, optarg);
		else
			r = targets_option(&c->t, opt, optarg);
		if (opt == CONVERT)
			c->convert = true;
	}
	if (r == 0 && c->repair && c->convert) {
		warnx("--repair and --convert exclude each other; --format says what --repair writes");
		r = -1;
	}
	return r;
}

int check_command(int argc, char *argv[])
{
	struct check c = {0};
	int status = USAGE_ERROR;
	bool named, described;

	umask(0);
	if (parse(&c, argc, argv) == 0) {
		named = argc - optind == 1;
		described = c.t.upper != NULL || c.t.nlower > 0 || c.t.work != NULL;
		if (targets_from_args(&c.t, argc - optind, argv + optind, USAGE) == 0)
			status = check_target(&c);
		else if (named && !described) /* there is no such target */
			status = OPERATIONAL;
	}
	if (fflush(stdout) == EOF) {
		warn("standard output");
		status |= OPERATIONAL;
	}
	targets_close(&c.t);
	return status;
}
