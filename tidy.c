/* SPDX-License-Identifier: ISC */
/*
 * An entry of the upper may go when no change is at its path, or below, and
 * what it covers would show in its place: no directory above it is opaque. An
 * opaque directory without changes goes as a whole.
 */
#include "tidy.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "inodes.h"
#include "names.h"
#include "whiteout.h"
#include "work.h"

struct tidying {
	struct target *t;
	struct changes *c;
	bool dry;
	void (*each)(void *arg, const char *path, bool whiteout);
	void *arg;
	struct tidied *done;
	char **old; /* places that something was renamed from: what hides them stays */
	size_t nold;
};

static int failed(struct tidying *x, const char *path, int r)
{
	if (r != 0 && x->done->failed == NULL)
		x->done->failed = strdup(*path == '\0' ? "/" : path);
	return r;
}

static bool is_below(const char *path, const char *dir, size_t len)
{
	return strncmp(path, dir, len) == 0 && (path[len] == '/' || path[len] == '\0');
}

/* The first of n sorted things whose path is not before the given one. */
static size_t first_from(const char *path, size_t n, const char *(*nth)(const void *, size_t),
			 const void *list)
{
	size_t low = 0, high = n;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (names_compare(nth(list, middle), path) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static const char *nth_change(const void *list, size_t i)
{
	return ((const struct changes *)list)->list[i].path;
}

static const char *nth_old(const void *list, size_t i)
{
	return ((const struct tidying *)list)->old[i];
}

/*
 * Whether a change is at path or below it; that of a file that is the same is none.
 * lower: what the lowers call it, which something else may have been renamed from.
 */
static bool has_changes(const struct tidying *x, const char *path, const char *lower)
{
	const struct changes *c = x->c;
	size_t len = strlen(path), i = first_from(lower, x->nold, nth_old, x);

	if (i < x->nold && is_below(x->old[i], lower, strlen(lower)))
		return true;
	for (i = first_from(path, c->n, nth_change, c);
	     i < c->n && is_below(c->list[i].path, path, len); i++)
		if (c->list[i].kind != CHANGE_SAME)
			return true;
	return false;
}

static int find_old(struct tidying *x)
{
	x->old = calloc(x->c->n + 1, sizeof(*x->old));
	if (x->old == NULL)
		return -ENOMEM;
	for (size_t i = 0; i < x->c->n; i++)
		if (x->c->list[i].kind == CHANGE_RENAMED)
			x->old[x->nold++] = x->c->list[i].base;
	if (x->nold > 0)
		qsort(x->old, x->nold, sizeof(*x->old), names_compare_strings);
	return 0;
}

static void tell(struct tidying *x, const char *path, bool whiteout)
{
	if (x->each != NULL)
		x->each(x->arg, path, whiteout);
	if (whiteout)
		x->done->whiteouts++;
	else
		x->done->files++;
}

/* One name of a directory of the upper, whose times stay. */

static int remove_entry(struct tidying *x, struct part *p, const char *name, bool isdir)
{
	char buf[32];

	if (isdir)
		return work_take(&x->t->o, (struct at){p->fd, name}, work_stage(&x->t->o, buf), 0);
	return unlinkat(p->fd, name, 0) == -1 ? -errno : 0;
}

static int tidy_dir(struct tidying *x, const char *path);

static int tidy_name(struct tidying *x, struct dir *d, const char *path, const char *lower)
{
	struct part *p = dir_upper(&x->t->o, d);
	const char *name = strrchr(path, '/') + 1;
	struct stat st, wh;
	int r = at_stat((struct at){p->fd, name}, &st, 0);
	bool there = r == 0 && !whiteout_is(p, name, &st), isdir = there && S_ISDIR(st.st_mode);

	if (r != 0 && r != -ENOENT)
		return r;
	r = 0;
	if (has_changes(x, path, lower))
		return isdir ? tidy_dir(x, path) : 0;
	/* The entry still hides what is below when its whiteout is gone, and equals it. */
	if (whiteout_stat(p, name, &wh) == 0) {
		if (!there)
			tell(x, path, true);
		if (!x->dry)
			r = whiteout_remove(p, name);
	}
	if (r == 0 && there) {
		tell(x, path, false);
		if (S_ISREG(st.st_mode))
			x->done->bytes += (uint64_t)st.st_blocks * 512;
		r = x->dry ? 0 : remove_entry(x, p, name, isdir);
	}
	return r;
}

/* Whether what the lowers have shows through where the upper has nothing. */
static bool shows_through(struct tidying *x, struct dir *d)
{
	struct dir *l;
	bool through;

	if (layers_dir(&x->t->low, d->lower_path, &l) != 0)
		return true; /* they have nothing there */
	through = d->nparts == l->nparts + 1;
	dir_put(&x->t->low, l);
	return through;
}

static int tidy_names(struct tidying *x, struct dir *d, const struct stat *st)
{
	struct part *p = dir_upper(&x->t->o, d);
	struct names l = {0};
	int r = names_of_part(&l, p, false);
	mode_t mode = 0;

	if (r == 0 && !x->dry)
		r = at_unlock((struct at){p->fd, ""}, &mode);
	names_sort(&l);
	for (size_t i = 0; r == 0 && i < l.n; i++) {
		char *path = NULL, *lower = NULL;

		if (asprintf(&path, "%s/%s", d->path, l.list[i]) == -1 ||
		    asprintf(&lower, "%s/%s", d->lower_path, l.list[i]) == -1)
			r = -ENOMEM;
		else
			r = failed(x, path, tidy_name(x, d, path, lower));
		free(path);
		free(lower);
	}
	if (!x->dry) {
		r = at_restore((struct at){p->fd, ""}, mode, r);
		at_utimens((struct at){p->fd, ""}, (struct timespec[]){st->st_atim, st->st_mtim});
	}
	names_free(&l);
	return r;
}

static int tidy_dir(struct tidying *x, const char *path)
{
	struct dir *d;
	struct stat st;
	int r = layers_dir(&x->t->o, path, &d);

	if (r != 0)
		return r;
	if (dir_upper(&x->t->o, d) != NULL && shows_through(x, d)) {
		r = at_stat((struct at){d->part[0].fd, ""}, &st, 0);
		if (r == 0)
			r = tidy_names(x, d, &st);
	}
	dir_put(&x->t->o, d);
	return r;
}

/* Names of one file. */

static int by_file(const void *a, const void *b)
{
	const struct change *x = *(struct change *const *)a, *y = *(struct change *const *)b;

	if (x->new.st_dev != y->new.st_dev)
		return x->new.st_dev < y->new.st_dev ? -1 : 1;
	return x->new.st_ino < y->new.st_ino ? -1 : x->new.st_ino > y->new.st_ino;
}

/* Whether another name of x's lower file is not one any more: their count is the upper's. */
static bool lost_a_name(const struct changes *c, const struct change *x)
{
	if (x->old.st_nlink < 2)
		return false;
	for (size_t i = 0; i < c->n; i++) {
		const struct change *y = &c->list[i];

		if (y->kind != CHANGE_ADDED && y->old.st_ino == x->old.st_ino &&
		    y->old.st_dev == x->old.st_dev &&
		    (y->kind == CHANGE_DELETED || y->new.st_ino != x->new.st_ino))
			return true;
	}
	return false;
}

/*
 * A name that is the same stays when another one of its file is not, or is
 * deleted, or when the lowers have different files in their places.
 */
static int keep_groups(struct changes *c)
{
	struct change **all = calloc(c->n + 1, sizeof(struct change *));
	size_t n = 0, end;

	if (all == NULL)
		return -ENOMEM;
	for (size_t i = 0; i < c->n; i++)
		if (c->list[i].kind != CHANGE_DELETED && !S_ISDIR(c->list[i].new.st_mode) &&
		    c->list[i].new.st_nlink > 1)
			all[n++] = &c->list[i];
	if (n > 0)
		qsort(all, n, sizeof(struct change *), by_file);
	for (size_t i = 0; i < n; i = end) {
		bool keep = all[i]->kind == CHANGE_SAME && lost_a_name(c, all[i]);

		for (end = i; end < n && by_file(&all[i], &all[end]) == 0; end++)
			keep = keep || all[end]->kind != CHANGE_SAME ||
			       all[end]->old.st_ino != all[i]->old.st_ino ||
			       all[end]->old.st_dev != all[i]->old.st_dev;
		for (size_t k = i; keep && k < end; k++)
			if (all[k]->kind == CHANGE_SAME)
				all[k]->kind = CHANGE_MODIFIED;
	}
	free(all);
	return 0;
}

/* An entry of the index serves the names that lowers have of a changed file. */
static int tidy_index(void *arg, uint64_t ino, const struct stat *st)
{
	struct tidying *x = arg;

	if (st != NULL && st->st_nlink > 1)
		return 0;
	for (size_t i = 0; i < x->c->n; i++) {
		const struct change *c = &x->c->list[i];

		if (c->kind == CHANGE_SAME)
			continue;
		/* One of its names in the lowers has gone: the rest is counted here. */
		if (c->kind != CHANGE_ADDED && c->old.st_nlink > 1 &&
		    inodes_identity(&x->t->o, &c->old) == ino)
			return 0;
		if (st != NULL && c->kind != CHANGE_DELETED && c->new.st_ino == st->st_ino &&
		    c->new.st_dev == st->st_dev)
			return 0;
	}
	return inodes_index_drop(&x->t->o, ino);
}

int tidy_upper(struct target *t, struct changes *c, bool dry,
	       void (*each)(void *arg, const char *path, bool whiteout), void *arg,
	       struct tidied *done)
{
	struct tidying x = {.t = t, .c = c, .dry = dry, .each = each, .arg = arg, .done = done};
	int r = keep_groups(c);

	*done = (struct tidied){0};
	if (r == 0)
		r = find_old(&x);
	if (r == 0)
		r = tidy_dir(&x, "");
	if (r == 0 && !dry)
		r = inodes_index_each(&t->o, tidy_index, &x);
	layers_drop_tree(&t->o, "");
	free(x.old);
	return r;
}
