/* SPDX-License-Identifier: ISC */
/*
 * The command "commit". All is found out and checked first. Then come batches:
 * one with all operations when it must be all or nothing, else several, so that
 * not everything is there twice at a time; deletions are in the last one. Each
 * batch has a journal (journal.h). At the end the upper is compared with the
 * lower, and what is the same is removed from it: nothing goes from the upper
 * that has not been seen in the lower.
 */
#include "commit.h"

#include <err.h>
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "options.h"
#include "place.h"
#include "plan.h"
#include "progress.h"
#include "show.h"
#include "stage.h"
#include "tidy.h"

#define USAGE                                                                                      \
	"commit [--dry-run] [--atomic] [--interactive] [--force] [--rootfs] [--files-only] "       \
	"[--include GLOB] [--exclude GLOB] [--filter-file FILE] [--no-empty-in DIR] TARGET"

enum { BATCH_OPS = 10000 };
#define BATCH_BYTES ((uint64_t)1 << 30)

static volatile sig_atomic_t interrupted;

static void interrupt(int signal)
{
	(void)signal;
	interrupted = 1;
}

/* Between two files, before anything has changed its place, is a good moment to end. */
static void catch_signals(void)
{
	static const int signals[] = {SIGINT, SIGTERM, SIGHUP};
	struct sigaction sa = {.sa_handler = interrupt, .sa_flags = SA_RESTART};

	for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++)
		sigaction(signals[i], &sa, NULL);
}

static int fail(const struct target *t, const char *path, int r)
{
	warnc(-r, "%s: %s", t->label, options_show(path != NULL ? path : "/"));
	return -1;
}

/* Batches. */

struct run {
	struct target *t;
	struct plan *plan;
	struct progress progress;
	struct journal j; /* of the batch */
	bool plain;	  /* the lower takes no reserved names */
};

static int fill_batch(struct run *run, size_t from, size_t to)
{
	const struct plan *p = run->plan;
	const struct layer *l = &run->t->o.layer[p->layer];
	int r = 0;

	run->j = (struct journal){
		.dev = l->dev, .ino = l->ino, .lower = strdup(l->path), .plain = run->plain};
	if (run->j.lower == NULL)
		return -ENOMEM;
	for (size_t i = 0; p->whole && r == 0 && i < p->j.nmerge; i++)
		r = journal_add_merge(&run->j, p->j.merge[i]);
	for (; r == 0 && from < to; from++) {
		struct op *op = journal_add_op(&run->j, p->j.op[from].kind, p->j.op[from].path);
		struct op all = p->j.op[from];

		if (op == NULL)
			return -ENOMEM;
		all.path = op->path;
		all.n = op->n;
		*op = all;
	}
	return r;
}

static int note_dirs(struct place *place)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < place->j->nop; i++) {
		const struct op *op = &place->j->op[i];
		char *parent = strndup(op->path, (size_t)(strrchr(op->path, '/') - op->path));

		r = parent == NULL ? -ENOMEM : place_note(place, parent);
		free(parent);
		if (r == 0 && op->kind == OP_META)
			r = place_note(place, op->path);
	}
	return r;
}

static int stage_all(struct run *run, struct place *place)
{
	struct stage s = {.t = run->t,
			  .layer = run->plan->layer,
			  .place = place,
			  .c = run->plan->c,
			  .progress = &run->progress};
	int r = 0;

	for (size_t i = 0; r == 0 && i < run->j.nop; i++)
		r = interrupted ? -EINTR : stage_op(&s, &run->j.op[i]);
	stage_destroy(&s);
	return r;
}

/* From nothing to all new entries in their places. */
static int build_and_swap(struct run *run, struct place *place)
{
	int workfd = run->t->o.workfd, r = note_dirs(place);

	if (r == 0)
		r = journal_write(workfd, &run->j);
	if (r == 0)
		r = place_unlock(place);
	if (r == 0)
		r = stage_all(run, place);
	if (r == 0)
		r = place_sync(place);
	run->j.state = JOURNAL_SWAP;
	if (r == 0)
		r = journal_write(workfd, &run->j);
	return r == 0 ? place_swap(place) : r;
}

/* again: whether it is to be tried with other names, see run_batch. */
static int try_batch(struct run *run, size_t from, size_t to, bool *again)
{
	struct place place;
	int undo, r = fill_batch(run, from, to);

	place_open(&place, run->t, run->plan->layer, &run->j);
	if (r == 0)
		r = build_and_swap(run, &place);
	*again = r == -EINVAL && !run->plain;
	if (r != 0) {
		if (!*again) {
			progress_end(&run->progress);
			fail(run->t, place.failed, r);
		}
		undo = place_undo(&place);
		*again = *again && undo == 0;
		if (undo != 0)
			warnx("%s: the commit could not be undone (%s); \"overlayfs check --repair\" tries "
			      "again",
			      run->t->label, strerror(-undo));
	} else {
		run->j.state = JOURNAL_DONE;
		r = journal_write(run->t->o.workfd, &run->j);
		if (r == 0)
			r = place_finish(&place);
		if (r != 0) {
			progress_end(&run->progress);
			fail(run->t, place.failed, r);
		}
	}
	place_close(&place);
	journal_destroy(&run->j);
	layers_drop_tree(&run->t->o, "");
	layers_drop_tree(&run->t->low, "");
	return r == 0 ? 0 : -1;
}

/* A lower that lies in another overlay refuses the names that are staged elsewhere. */
static int run_batch(struct run *run, size_t from, size_t to)
{
	bool again;
	int r = try_batch(run, from, to, &again);

	if (!again)
		return r;
	run->plain = true;
	return try_batch(run, from, to, &again);
}

static int run_batches(struct run *run, bool atomic)
{
	const struct plan *p = run->plan;
	size_t from = 0, to, puts = p->nfirst + p->nput;
	uint64_t bytes;
	int r = 0;

	progress_begin(&run->progress, p->files);
	if (atomic && p->j.nop > 0)
		r = run_batch(run, 0, p->j.nop);
	if (!atomic && p->nfirst > 0)
		r = run_batch(run, 0, p->nfirst);
	for (from = p->nfirst; !atomic && r == 0 && from < puts; from = to) {
		for (to = from, bytes = 0;
		     to < puts && to - from < BATCH_OPS && bytes < BATCH_BYTES; to++)
			bytes += p->j.op[to].bytes;
		r = run_batch(run, from, to);
	}
	if (!atomic && r == 0 && puts < p->j.nop)
		r = run_batch(run, puts, p->j.nop);
	progress_end(&run->progress);
	return r;
}

/* What was committed but is not the same: it stays, and that is said. */
static int complain(const struct target *t, const struct changes *before,
		    const struct changes *after)
{
	int r = 0;

	for (size_t i = 0; i < after->n; i++) {
		const struct change *x = &after->list[i], *y = changes_find(before, x->path);

		if (x->kind == CHANGE_SAME || y == NULL || y->left_out || y->kind == CHANGE_SAME)
			continue;
		warnx("%s: %s: the lower cannot hold all of it; it stays in the upper", t->label,
		      options_show(x->path));
		r = -1;
	}
	return r;
}

static int tidy(struct target *t, const struct changes *before)
{
	struct changes after;
	struct tidied done = {0};
	int status = 0,
	    r = changes_collect(t, CHANGES_TIMES | CHANGES_SAME | CHANGES_UNLOCK, &after);

	if (r != 0) {
		fail(t, after.failed, r);
		changes_destroy(&after);
		return -1;
	}
	if (before != NULL)
		status = complain(t, before, &after);
	r = tidy_upper(t, &after, false, NULL, NULL, &done);
	if (r != 0)
		status = fail(t, done.failed, r);
	free(done.failed);
	changes_destroy(&after);
	return status;
}

/* Before. */

static int recover(struct target *t)
{
	char *path;
	int r = place_recover(t, &path);

	if (r == -EINVAL)
		warnx("%s: the journal of an interrupted commit is damaged", t->label);
	else if (r == -ESTALE)
		warnx("%s: an interrupted commit went to %s, which is not among the lowers",
		      t->label, path == NULL ? "another lower" : options_show(path));
	else if (r < 0)
		fail(t, path, r);
	else if (r > 0)
		warnx("%s: an interrupted commit was %s", t->label,
		      r == PLACE_FINISHED ? "finished" : "undone");
	free(path);
	return r < 0 ? -1 : 0;
}

static void print_conflict(void *arg, const char *path)
{
	const struct target *t = arg;

	warnx("%s: conflict: %s was changed in the lower", t->label, options_show(path));
}

static int check(const struct plan *p, const struct commit *opt)
{
	int n;

	if (!opt->force) {
		n = plan_conflicts(p, print_conflict, (void *)(uintptr_t)p->t);
		if (n < 0)
			return fail(p->t, p->failed, n);
		if (n > 0) {
			warnx("%s: not committed; --force overwrites", p->t->label);
			return -1;
		}
	}
	return plan_check(p, opt->atomic || p->whole);
}

/* The whole range at the path of change i: what one answer is for. */
static size_t same_answer(const struct changes *c, size_t i)
{
	const struct change *x = &c->list[i];
	size_t len = strlen(x->path), end = i + 1;

	if (x->kind == CHANGE_MODIFIED || x->kind == CHANGE_SAME)
		return end;
	while (end < c->n && strncmp(c->list[end].path, x->path, len) == 0 &&
	       (c->list[end].path[len] == '/' || c->list[end].path[len] == '\0'))
		end++;
	return end;
}

/* Ask for each change. Returns -1 when the user does not want any. */
static int ask(const struct target *t, struct changes *c)
{
	struct show show = {t, stderr, SHOW_LIST, false};
	char *line = NULL;
	size_t size = 0, end;
	bool all = false;
	int r = 0;

	for (size_t i = 0; r == 0 && i < c->n && !all; i = end) {
		const struct change *x = &c->list[i];

		end = same_answer(c, i);
		if (x->left_out || x->kind == CHANGE_SAME)
			continue;
		show_line(&show, x);
		fprintf(stderr, "commit %s? [y]es, [n]o, [a]ll that follow, [q]uit: ",
			end - i > 1 ? "this and all in it" : "this");
		if (getline(&line, &size, stdin) == -1 || line[0] == 'q')
			r = -1;
		else if (line[0] == 'a')
			all = true;
		else if (line[0] == '\n')
			end = i;
		else if (line[0] != 'y')
			for (size_t k = i; k < end; k++)
				c->list[k].left_out = true;
	}
	free(line);
	return r;
}

static int show_plan(const struct plan *p)
{
	struct show show = {p->t, stdout, SHOW_LIST, false};
	const char *path;

	show_changes(&show, p->c, &path);
	printf("to %s\n", options_show(p->t->o.layer[p->layer].path));
	return fflush(stdout) == EOF ? fail(p->t, "standard output", -errno) : 0;
}

static int commit_changes(struct target *t, const struct commit *opt, struct changes *c)
{
	struct plan plan = {0};
	struct run run = {.t = t, .plan = &plan};
	int r = changes_collect(t, CHANGES_TIMES | CHANGES_SAME, c);

	if (r != 0)
		return fail(t, c->failed, r);
	changes_filter(c, &opt->filter);
	if (plan_leave_out(t, c) != 0)
		return fail(t, NULL, -ENOMEM);
	if (opt->interactive && (ask(t, c) != 0 || plan_leave_out(t, c) != 0))
		return -1;
	r = plan_make(&plan, t, c);
	if (r != 0)
		r = fail(t, plan.failed, r);
	else
		r = check(&plan, opt);
	if (r == 0 && opt->dry_run)
		r = show_plan(&plan);
	else if (r == 0)
		r = run_batches(&run, opt->atomic || plan.whole);
	if (!opt->dry_run && r == 0)
		r = tidy(t, c);
	plan_destroy(&plan);
	return r;
}

int commit_target(struct target *t, const struct commit *opt)
{
	struct changes c = {0};
	int r = targets_open(t, opt->dry_run ? TARGET_READ : TARGET_WRITE);

	if (r == 0 && opt->dry_run && t->o.workfd >= 0 && journal_exists(t->o.workfd)) {
		warnx("%s: a commit was interrupted; the next one finishes or undoes it", t->label);
		r = -1;
	} else if (r == 0 && !opt->dry_run) {
		catch_signals();
		r = recover(t);
	}
	if (r == 0)
		r = commit_changes(t, opt, &c);
	changes_destroy(&c);
	return r == 0 ? 0 : 1;
}

/* The command line. */

enum { DRY_RUN = 0x100, ATOMIC, INTERACTIVE, FORCE };

static const struct option options[] = {
	{"dry-run", no_argument, NULL, DRY_RUN},
	{"atomic", no_argument, NULL, ATOMIC},
	{"interactive", no_argument, NULL, INTERACTIVE},
	{"force", no_argument, NULL, FORCE},
	FILTER_OPTIONS,
	{0},
};

static int parse(struct commit *opt, struct target *t, int argc, char *argv[])
{
	int c, r = 0;

	argv[0] = (char *)"overlayfs commit";
	while (r == 0 && (c = getopt_long(argc, argv, TARGETS_OPTIONS, options, NULL)) != -1) {
		switch (c) {
		case DRY_RUN:
			opt->dry_run = true;
			break;
		case ATOMIC:
			opt->atomic = true;
			break;
		case INTERACTIVE:
			opt->interactive = true;
			break;
		case FORCE:
			opt->force = true;
			break;
		case '?':
			return -1;
		default:
			r = c >= FILTER_EXCLUDE ? filter_option(&opt->filter, c, optarg)
						: targets_option(t, c, optarg);
		}
	}
	return r != 0 ? r : targets_from_args(t, argc - optind, argv + optind, USAGE);
}

int commit_command(int argc, char *argv[])
{
	struct commit opt = {0};
	struct target t = {0};
	int status = 1;

	umask(0);
	if (parse(&opt, &t, argc, argv) == 0)
		status = commit_target(&t, &opt);
	filter_destroy(&opt.filter);
	targets_close(&t);
	return status;
}
