/* SPDX-License-Identifier: ISC */
/*
 * The command "vacuum". What equals the lowers goes first (tidy.h), then the
 * whiteouts that hide nothing where that does not look: in opaque directories.
 * No name of the merged tree changes.
 */
#include "vacuum.h"

#include <err.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "inspect.h"
#include "journal.h"
#include "options.h"
#include "show.h"
#include "tidy.h"

#define USAGE "vacuum [--dry-run] TARGET"

static const struct option options[] = {{"dry-run", no_argument, NULL, 'd'}, {0}};

static int fail(const struct target *t, const char *path, int r)
{
	warnc(-r, "%s: %s", t->label, options_show(path != NULL ? path : "/"));
	return -1;
}

static void print(void *arg, const char *path, bool whiteout)
{
	(void)arg;
	show_path(stdout, path);
	puts(whiteout ? " (whiteout)" : "");
}

static void print_whiteout(void *arg, const char *path, const char *what, int r)
{
	int *status = arg;

	(void)what;
	if (r != 0) {
		warnc(-r, "%s", options_show(path));
		*status = -1;
		return;
	}
	print(NULL, path, true);
}

static int vacuum_equal(struct target *t, bool dry)
{
	struct changes c;
	struct tidied done = {0};
	int r = changes_collect(t, CHANGES_TIMES | CHANGES_SAME, &c);

	if (r != 0) {
		r = fail(t, c.failed, r);
	} else {
		r = tidy_upper(t, &c, dry, print, NULL, &done);
		if (r != 0)
			r = fail(t, done.failed, r);
	}
	free(done.failed);
	changes_destroy(&c);
	return r;
}

static int vacuum_target(struct target *t, bool dry)
{
	int status = 0, r;
	struct inspect x = {.t = t,
			    .look = INSPECT_WHITEOUTS,
			    .repair = true,
			    .each = print_whiteout,
			    .arg = &status};

	if (targets_open(t, TARGET_WRITE) != 0)
		return 1;
	if (journal_exists(t->o.workfd)) {
		warnx("%s: a commit was interrupted; finish it with \"overlayfs commit\" or "
		      "\"overlayfs check --repair\"",
		      t->label);
		return 1;
	}
	r = vacuum_equal(t, dry);
	if (r == 0 && !dry) {
		r = inspect_upper(&x);
		if (r != 0)
			status = fail(t, x.failed, r);
		free(x.failed);
	}
	if (fflush(stdout) == EOF) {
		warn("standard output");
		status = -1;
	}
	return r != 0 || status != 0;
}

int vacuum_command(int argc, char *argv[])
{
	struct target t = {0};
	bool dry = false;
	int c, status = 1, r = 0;

	umask(0);
	argv[0] = (char *)"overlayfs vacuum";
	while (r == 0 && (c = getopt_long(argc, argv, TARGETS_OPTIONS, options, NULL)) != -1) {
		if (c == 'd')
			dry = true;
		else
			r = c == '?' ? -1 : targets_option(&t, c, optarg);
	}
	if (r == 0 && targets_from_args(&t, argc - optind, argv + optind, USAGE) == 0)
		status = vacuum_target(&t, dry);
	targets_close(&t);
	return status;
}
