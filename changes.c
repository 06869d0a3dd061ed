/* SPDX-License-Identifier: ISC */
/*
 * The changes of an upper. The upper's directories are walked, and each name in
 * one of them is looked up twice: in the merged tree and in the lowers alone.
 * The names that only the lowers have need be read where the upper's directory
 * does not show what is below it: it is opaque, or was put in the place of another.
 *
 * Renames come from the upper itself: a redirect names the old place of a
 * directory, and the inode number that a copied-up file carries is that of its
 * old path. So what has been moved away is found first, and the files are
 * joined at the end.
 */
#include "changes.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "inodes.h"
#include "names.h"
#include "readdir.h"
#include "whiteout.h"

struct walk {
	const struct ovl *o, *low;
	unsigned flags;
	struct changes *c;
	struct names moved;
	dev_t dev; /* of the upper, for the index */
};

/* One directory of both trees. */
struct pair {
	struct dir *d; /* merged */
	struct dir *l; /* of the lowers, or NULL */
};

/* Paths. */

static char *join(const char *dir, const char *name)
{
	char *path;

	return asprintf(&path, "%s/%s", dir, name) == -1 ? NULL : path;
}

const char *change_old_path(const struct change *x)
{
	return x->base != NULL ? x->base : x->path;
}

/* Names of a directory. */

static int add_base_name(void *arg, struct dir *d, unsigned part, const char *name)
{
	(void)d;
	(void)part;
	return names_add(arg, name);
}

/* Whether the lowers' directory l is what shows through in d. */
static bool shows_through(const struct dir *d, const struct dir *l)
{
	unsigned skip = d->nparts > 0 && d->part[0].layer == 0 ? 1 : 0;

	if (d->nparts - skip != l->nparts)
		return false;
	for (unsigned i = 0; i < l->nparts; i++)
		if (d->part[i + skip].layer != l->part[i].layer + 1)
			return false;
	return strcmp(d->lower_path, l->path) == 0;
}

/* The names at which the two directories may differ. */
static int names_of_pair(struct walk *w, struct pair p, struct names *l)
{
	int r = names_of_part(l, &p.d->part[0], false);

	if (r == 0 && p.l != NULL && !shows_through(p.d, p.l))
		r = readdir_each(w->low, p.l, add_base_name, l);
	names_sort(l);
	return r;
}

/* The list. */

static struct change *add(struct walk *w, enum change_kind kind, const char *path)
{
	struct changes *c = w->c;
	struct change *x;

	if (c->n == c->room) {
		size_t room = c->room == 0 ? 64 : c->room * 2;

		x = reallocarray(c->list, room, sizeof(*x));
		if (x == NULL)
			return NULL;
		c->list = x;
		c->room = room;
	}
	x = &c->list[c->n];
	*x = (struct change){.kind = kind, .path = strdup(path)};
	if (x->path == NULL)
		return NULL;
	c->n++;
	return x;
}

/* Keep the path at which something failed, the first one. */
static int failed(struct walk *w, const char *path, int r)
{
	if (r != 0 && w->c->failed == NULL)
		w->c->failed = strdup(*path == '\0' ? "/" : path);
	return r;
}

/* What has been moved away. */

static int find_moved(struct walk *w, struct dir *d, struct names *moved)
{
	struct names l = {0};
	int r = names_of_part(&l, &d->part[0], true);

	for (size_t i = 0; r == 0 && i < l.n; i++) {
		struct at a = {d->part[0].fd, l.list[i]};
		char *path, *lower;
		struct dir *child = NULL;
		struct stat st;

		if (at_stat(a, &st, 0) != 0 || !S_ISDIR(st.st_mode))
			continue;
		path = join(d->path, l.list[i]);
		lower = join(d->lower_path, l.list[i]);
		r = path == NULL || lower == NULL ? -ENOMEM : layers_dir(w->o, path, &child);
		if (r == 0 && dir_upper(w->o, child) != NULL) {
			if (strcmp(child->lower_path, lower) != 0)
				r = names_add(moved, child->lower_path);
			if (r == 0)
				r = find_moved(w, child, moved);
		} else if (r == -ENOENT || r == -ENOTDIR) {
			r = 0; /* the work directory */
		}
		dir_put(w->o, child);
		r = failed(w, path == NULL ? "" : path, r);
		free(path);
		free(lower);
	}
	names_free(&l);
	return r;
}

static bool is_moved(const struct walk *w, const char *path)
{
	return w->moved.n > 0 && bsearch(&path, w->moved.list, w->moved.n, sizeof(*w->moved.list),
					 names_compare_strings) != NULL;
}

static int collect_moved(struct walk *w)
{
	struct dir *root;
	int r = layers_dir(w->o, "", &root);

	if (r == 0) {
		r = find_moved(w, root, &w->moved);
		dir_put(w->o, root);
	}
	names_sort(&w->moved);
	return r;
}

/* Deletions. */

struct deletion {
	struct walk *w;
	const char *shown; /* where the directory would be in the merged tree */
	uint64_t n;
};

static int add_deleted(struct walk *w, struct entry *e, const char *shown, uint64_t *n);

static int add_deleted_name(void *arg, struct dir *d, unsigned part, const char *name)
{
	struct deletion *x = arg;
	struct entry e;
	char *shown = join(x->shown, name);
	int r = shown == NULL ? -ENOMEM : layers_entry(x->w->low, d, part, name, &e);

	if (r == 0) {
		r = add_deleted(x->w, &e, shown, &x->n);
		entry_done(x->w->low, &e);
	}
	free(shown);
	return r;
}

/* Add a file of the lowers, and what is in it; count that in *n. */
static int add_deleted(struct walk *w, struct entry *e, const char *shown, uint64_t *n)
{
	char *base = join(e->dir->path, e->name);
	struct deletion inner = {w, shown, 0};
	struct change *x;
	struct dir *l = NULL;
	size_t i = w->c->n;
	int r = 0;

	if (base != NULL && is_moved(w, base)) {
		free(base);
		return 0;
	}
	x = base == NULL ? NULL : add(w, CHANGE_DELETED, shown);
	if (x == NULL) {
		free(base);
		return -ENOMEM;
	}
	x->old = e->st;
	x->number = e->ino;
	if (S_ISDIR(e->st.st_mode)) {
		r = layers_dir(w->low, base, &l);
		if (r == 0) {
			r = readdir_each(w->low, l, add_deleted_name, &inner);
			dir_put(w->low, l);
		}
		w->c->list[i].below = inner.n;
	}
	*n += 1 + inner.n;
	r = failed(w, shown, r);
	if (strcmp(base, shown) != 0)
		w->c->list[i].base = base;
	else
		free(base);
	return r;
}

/* Additions and modifications. */

static int walk_dir(struct walk *w, struct pair p);

static int walk_child(struct walk *w, struct dir *child, struct dir *base)
{
	if (dir_upper(w->o, child) == NULL)
		return 0;
	return walk_dir(w, (struct pair){child, base});
}

static int add_new(struct walk *w, enum change_kind kind, const char *path, const struct entry *e,
		   const struct entry *b)
{
	struct change *x = add(w, kind, path);

	if (x == NULL)
		return -ENOMEM;
	x->new = e->st;
	x->number = e->ino;
	if (b != NULL) {
		char *base = join(b->dir->path, b->name);

		x->old = b->st;
		if (base == NULL)
			return -ENOMEM;
		if (strcmp(base, path) == 0)
			free(base);
		else
			x->base = base;
	}
	return 0;
}

bool changes_lost_owner(const struct ovl *o, const struct stat *upper, const struct stat *lower)
{
	struct stat root;

	return upper->st_uid != 0 && upper->st_uid != lower->st_uid &&
	       at_stat((struct at){o->layer[0].fd, "."}, &root, 0) == 0 &&
	       root.st_uid == upper->st_uid;
}

/*
 * Without privilege a copied-up file belongs to the caller, who did not ask for
 * that; nor can he set the times of somebody else's directory.
 */
static int compare_both(const struct walk *w, const struct entry *e, const struct entry *b,
			unsigned *what)
{
	int r = compare_files(e->at, &e->st, b->at, &b->st, w->flags & CHANGES_UNLOCK, what);

	if (changes_lost_owner(w->o, &e->st, &b->st) ||
	    (!w->o->privileged && e->st.st_uid == geteuid() && b->st.st_uid != geteuid())) {
		*what &= ~(unsigned)COMPARE_OWNER;
		if (S_ISDIR(e->st.st_mode))
			*what &= ~(unsigned)COMPARE_TIME;
	}
	if (!(w->flags & CHANGES_TIMES))
		*what &= ~(unsigned)COMPARE_TIME;
	return r;
}

/* Both are there and of one type. */
static int add_modified(struct walk *w, enum change_kind kind, const char *path,
			const struct entry *e, const struct entry *b)
{
	unsigned what;
	int r = compare_both(w, e, b, &what);

	if (r != 0)
		return r;
	if (what == 0 && kind == CHANGE_MODIFIED) {
		if (!(w->flags & CHANGES_SAME) || S_ISDIR(e->st.st_mode) || e->st.st_nlink < 2)
			return 0;
		kind = CHANGE_SAME;
	}
	r = add_new(w, kind, path, e, b);
	if (r == 0)
		w->c->list[w->c->n - 1].what = what;
	return r;
}

/* A directory of the upper that was moved here; its old place is in the lowers. */
static int walk_renamed(struct walk *w, const char *path, const struct entry *e, struct dir *child)
{
	struct entry b;
	struct dir *base = NULL;
	int r = layers_lookup(w->low, child->lower_path, &b);

	if (r == 0 && !S_ISDIR(b.st.st_mode)) {
		entry_done(w->low, &b);
		r = -ENOENT;
	}
	if (r == -ENOENT || r == -ENOTDIR) { /* the redirect leads nowhere */
		r = add_new(w, CHANGE_ADDED, path, e, NULL);
		return r != 0 ? r : walk_child(w, child, NULL);
	}
	if (r != 0)
		return r;
	r = layers_dir(w->low, child->lower_path, &base);
	if (r == 0)
		r = add_modified(w, CHANGE_RENAMED, path, e, &b);
	if (r == 0)
		r = walk_child(w, child, base);
	dir_put(w->low, base);
	entry_done(w->low, &b);
	return r;
}

/* e is a directory; b, if there is one, is of any type. */
static int walk_subdir(struct walk *w, struct pair p, const char *path, const struct entry *e,
		       struct entry *b)
{
	struct dir *child, *base = NULL;
	char *natural = join(p.d->lower_path, e->name);
	uint64_t n = 0;
	int r = natural == NULL ? -ENOMEM : layers_dir(w->o, path, &child);

	if (r != 0) {
		free(natural);
		return r;
	}
	if (dir_upper(w->o, child) != NULL && strcmp(child->lower_path, natural) != 0) {
		if (b != NULL)
			r = add_deleted(w, b, path, &n);
		if (r == 0)
			r = walk_renamed(w, path, e, child);
	} else if (b == NULL || !S_ISDIR(b->st.st_mode)) {
		r = add_new(w, b == NULL ? CHANGE_ADDED : CHANGE_TYPE, path, e, b);
		if (r == 0)
			r = walk_child(w, child, NULL);
	} else {
		char *old = join(b->dir->path, b->name);

		r = old == NULL ? -ENOMEM : layers_dir(w->low, old, &base);
		free(old);
		if (r == 0 && e->upper)
			r = add_modified(w, CHANGE_MODIFIED, path, e, b);
		if (r == 0)
			r = walk_child(w, child, base);
		dir_put(w->low, base);
	}
	free(natural);
	dir_put(w->o, child);
	return r;
}

/* What was a directory is something else now: all in it is deleted. */
static int delete_contents(struct walk *w, const struct entry *b, const char *path)
{
	struct deletion x = {w, path, 0};
	char *old = join(b->dir->path, b->name);
	struct dir *l;
	int r = old == NULL ? -ENOMEM : layers_dir(w->low, old, &l);

	free(old);
	if (r == 0) {
		r = readdir_each(w->low, l, add_deleted_name, &x);
		dir_put(w->low, l);
	}
	return r;
}

static int compare_entries(struct walk *w, struct pair p, const char *path, struct entry *e,
			   struct entry *b)
{
	uint64_t n = 0;
	int r;

	if (e->part < 0)
		return b == NULL ? 0 : add_deleted(w, b, path, &n);
	if (S_ISDIR(e->st.st_mode))
		return walk_subdir(w, p, path, e, b);
	if (!e->upper)
		return 0; /* it shows through from a lower */
	if (b == NULL)
		return add_new(w, CHANGE_ADDED, path, e, NULL);
	if ((e->st.st_mode & S_IFMT) == (b->st.st_mode & S_IFMT))
		return add_modified(w, CHANGE_MODIFIED, path, e, b);
	r = add_new(w, CHANGE_TYPE, path, e, b);
	return r == 0 && S_ISDIR(b->st.st_mode) ? delete_contents(w, b, path) : r;
}

static int walk_name(struct walk *w, struct pair p, const char *name)
{
	char *path = join(p.d->path, name), *old = NULL;
	struct entry e, b;
	bool has_base = false;
	int r = path == NULL ? -ENOMEM : layers_find_in(w->o, p.d, name, &e);

	if (r != 0)
		goto out;
	if (p.l != NULL) {
		r = layers_find_in(w->low, p.l, name, &b);
		has_base = r == 0;
		old = join(p.l->path, name);
		if (old == NULL && r == 0)
			r = -ENOMEM;
	}
	if (r == 0)
		r = compare_entries(w, p, path, &e,
				    has_base && b.part >= 0 && !is_moved(w, old) ? &b : NULL);
	if (has_base)
		entry_done(w->low, &b);
	entry_done(w->o, &e);
out:
	r = failed(w, path == NULL ? "" : path, r);
	free(path);
	free(old);
	return r;
}

static int walk_dir(struct walk *w, struct pair p)
{
	struct names l = {0};
	int r = failed(w, p.d->path, names_of_pair(w, p, &l));

	for (size_t i = 0; r == 0 && i < l.n; i++)
		r = walk_name(w, p, l.list[i]);
	names_free(&l);
	return r;
}

/* Names of a lower that follow a copied-up file of several names. */

static int walk_followers(struct walk *w, struct dir *d);

static int walk_follower(void *arg, struct dir *d, unsigned part, const char *name)
{
	struct walk *w = arg;
	char *path = NULL, *old = NULL;
	struct dir *child;
	struct entry e, b;
	int r = layers_entry(w->o, d, part, name, &e);

	if (r != 0)
		return r;
	if (S_ISDIR(e.st.st_mode) || e.indexed) {
		path = join(d->path, name);
		old = join(d->lower_path, name);
		r = path == NULL || old == NULL ? -ENOMEM : 0;
	}
	if (r == 0 && S_ISDIR(e.st.st_mode)) {
		r = layers_dir(w->o, path, &child);
		if (r == 0) {
			r = walk_followers(w, child);
			dir_put(w->o, child);
		}
	} else if (r == 0 && e.indexed) {
		r = layers_lookup(w->low, old, &b);
		if (r == 0) {
			r = add_modified(w, CHANGE_MODIFIED, path, &e, &b);
			entry_done(w->low, &b);
		}
	}
	r = failed(w, path == NULL ? d->path : path, r);
	free(path);
	free(old);
	entry_done(w->o, &e);
	return r;
}

static int walk_followers(struct walk *w, struct dir *d)
{
	return readdir_each(w->o, d, walk_follower, w);
}

/* Joining deleted and added files that are the same. */

static int by_number(const void *a, const void *b)
{
	const struct change *x = *(struct change *const *)a, *y = *(struct change *const *)b;

	return x->number < y->number ? -1 : x->number > y->number;
}

static int join_file(struct walk *w, struct change *x, struct change *deleted)
{
	struct entry e, b;
	int r = layers_lookup(w->o, x->path, &e);

	if (r != 0)
		return r;
	r = layers_lookup(w->low, change_old_path(deleted), &b);
	if (r == 0 && (e.st.st_mode & S_IFMT) == (b.st.st_mode & S_IFMT)) {
		r = compare_both(w, &e, &b, &x->what);
		x->base = strdup(change_old_path(deleted));
		if (r == 0 && x->base == NULL)
			r = -ENOMEM;
		x->kind = CHANGE_RENAMED;
		x->old = b.st;
		deleted->kind = CHANGE_SAME; /* said by the other now */
		deleted->number = 0;
		free(deleted->path);
		deleted->path = NULL;
	}
	if (r == 0)
		entry_done(w->low, &b);
	entry_done(w->o, &e);
	return r;
}

static int join_files(struct walk *w)
{
	struct changes *c = w->c;
	struct change **deleted = calloc(c->n + 1, sizeof(struct change *));
	size_t n = 0, kept = 0;
	int r = deleted == NULL ? -ENOMEM : 0;

	for (size_t i = 0; r == 0 && i < c->n; i++)
		if (c->list[i].kind == CHANGE_DELETED && !S_ISDIR(c->list[i].old.st_mode))
			deleted[n++] = &c->list[i];
	if (n > 0)
		qsort(deleted, n, sizeof(struct change *), by_number);
	for (size_t i = 0; r == 0 && n > 0 && i < c->n; i++) {
		struct change *x = &c->list[i], **found;

		if (x->kind != CHANGE_ADDED || S_ISDIR(x->new.st_mode))
			continue;
		found = bsearch(&x, deleted, n, sizeof(struct change *), by_number);
		if (found != NULL && (*found)->path != NULL)
			r = failed(w, x->path, join_file(w, x, *found));
	}
	free(deleted);
	for (size_t i = 0; i < c->n; i++) {
		if (c->list[i].path == NULL)
			free(c->list[i].base);
		else
			c->list[kept++] = c->list[i];
	}
	c->n = kept;
	return r;
}

/* All of it. */

static int compare_changes(const void *a, const void *b)
{
	const struct change *x = a, *y = b;
	int r = names_compare(x->path, y->path);

	return r != 0 ? r : (int)x->kind - (int)y->kind;
}

int changes_collect(const struct target *t, unsigned flags, struct changes *c)
{
	struct walk w = {.o = &t->o, .low = &t->low, .flags = flags, .c = c};
	struct pair root = {0};
	int r;

	*c = (struct changes){0};
	r = layers_dir(w.o, "", &root.d);
	if (r == 0)
		r = layers_dir(w.low, "", &root.l);
	if (r == 0)
		r = collect_moved(&w);
	if (r == 0)
		r = walk_dir(&w, root);
	if (r == 0 && inodes_have_followers(w.o))
		r = walk_followers(&w, root.d);
	if (r == 0)
		r = join_files(&w);
	if (c->n > 0)
		qsort(c->list, c->n, sizeof(*c->list), compare_changes);
	dir_put(w.o, root.d);
	dir_put(w.low, root.l);
	names_free(&w.moved);
	return r;
}

void changes_destroy(struct changes *c)
{
	for (size_t i = 0; i < c->n; i++) {
		free(c->list[i].path);
		free(c->list[i].base);
	}
	free(c->list);
	free(c->failed);
	*c = (struct changes){0};
}

static int compare_key(const void *key, const void *x)
{
	return names_compare(key, ((const struct change *)x)->path);
}

struct change *changes_find(const struct changes *c, const char *path)
{
	return c->n == 0 ? NULL : bsearch(path, c->list, c->n, sizeof(*c->list), compare_key);
}

void changes_filter(struct changes *c, const struct filter *f)
{
	for (size_t i = 0; i < c->n; i++) {
		struct change *x = &c->list[i];
		const struct stat *st = x->kind == CHANGE_DELETED ? &x->old : &x->new;

		x->left_out = filter_leaves_out(f, x->path, st, x->kind == CHANGE_ADDED) ||
			      (x->kind == CHANGE_RENAMED &&
			       filter_leaves_out(f, change_old_path(x), st, false));
	}
}
