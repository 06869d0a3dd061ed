/* SPDX-License-Identifier: ISC */
/*
 * Renames. A file is copied up and renamed in the upper. Of a directory only
 * the upper's part moves: a redirect on it says where its lower part lies, so
 * the cost does not depend on what is inside. Where the old name has something
 * below, whiteout_rename leaves a whiteout in the same step.
 */
#include "rename.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "copyup.h"
#include "entries.h"
#include "inodes.h"
#include "readdir.h"
#include "whiteout.h"
#include "work.h"

/* One end of a rename. */
struct end {
	const char *path;
	const char *name;
	struct dir *parent; /* in the upper, once anything is changed */
	struct entry e;
	struct dir *d; /* the directory that e is, or NULL */
};

static int end_open(const struct ovl *o, struct end *x, const char *path)
{
	int r;

	*x = (struct end){.path = path, .e = {.part = -1}};
	r = entries_dir(o, path, &x->parent, &x->name);
	if (r != 0)
		return r;
	r = layers_find_in(o, x->parent, x->name, &x->e);
	if (r == 0 && x->e.part >= 0 && S_ISDIR(x->e.st.st_mode))
		r = layers_dir(o, path, &x->d);
	return r;
}

/* Bring the directory to the upper. The entry is found again in the one that has come. */
static int end_raise(const struct ovl *o, struct end *x)
{
	struct dir *was = x->parent;
	int r = copyup_dir(o, &x->parent);

	if (r != 0 || x->parent == was)
		return r;
	entry_done(o, &x->e);
	x->e = (struct entry){.part = -1};
	return layers_find_in(o, x->parent, x->name, &x->e);
}

static void end_close(const struct ovl *o, struct end *x)
{
	entry_done(o, &x->e);
	dir_put(o, x->d);
	dir_put(o, x->parent);
}

static bool isdir(const struct end *x)
{
	return S_ISDIR(x->e.st.st_mode);
}

/* Bind a merged directory to its lower part, so that it may change its place. */
static int bind_lower(const struct ovl *o, struct end *x)
{
	struct at a;
	struct stat st;
	int r = x->d->nparts == 0 ? -EBUSY : copyup_dir(o, &x->d);

	if (r != 0)
		return r;
	a = (struct at){dir_upper(o, x->d)->fd, ""};
	r = at_stat(a, &st, 0);
	if (r == 0)
		r = inodes_store(o, a, x->d->ino, &st);
	if (r == 0)
		r = inodes_mark(o, x->parent);
	if (r == 0)
		r = whiteout_set_redirect(o, a, x->d->lower_path);
	return r;
}

/*
 * Without redirects: let the upper have all that a merged directory shows, and
 * make it opaque, so that it can be moved as it is. Nothing changes for users,
 * wherever this ends. The upper's files stay what they are: a copy would have to
 * carry the number of an inode that another file gets next.
 */
static int flatten(const struct ovl *o, struct end *x)
{
	struct at a;
	int r = copyup_tree(o, &x->d);

	if (r == 0)
		r = inodes_mark(o, x->parent);
	if (r == 0) {
		a = (struct at){dir_upper(o, x->d)->fd, ""};
		/* the new place will say whether it needs the file too */
		r = whiteout_set_opaque(o, a, o->xattrs);
	}
	if (r == 0)
		r = whiteout_strip(a);
	if (r != 0)
		return r;
	layers_drop_tree(o, x->path);
	dir_put(o, x->d);
	x->d = NULL;
	return layers_dir(o, x->path, &x->d);
}

/* Make one end ready to be moved to the place of the other. */
static int prepare(const struct ovl *o, struct end *x, struct end *to)
{
	bool below;
	int r;

	if (!isdir(x)) {
		r = copyup_entry(o, &x->e, false);
		if (r == 0 && x->e.ino != inodes_identity(o, &x->e.st))
			r = inodes_mark(o, to->parent);
		return r;
	}
	if (!x->d->pure) {
		bool redirect = o->redirect_dir && o->xattrs;

		r = redirect ? bind_lower(o, x) : flatten(o, x);
		if (r == 0)
			r = inodes_mark(o, to->parent);
		if (r != 0 || redirect)
			return r;
	}
	if (dir_upper(o, x->parent)->flags & PART_NUMBERED)
		inodes_mark(o, to->parent);
	if (to->parent->pure)
		return 0;
	/* What a lower has at the new place must not show through. */
	r = layers_below(o, to->parent, to->name, &below);
	if (r != 0 || !below)
		return r;
	return whiteout_set_opaque(o, (struct at){dir_upper(o, x->d)->fd, ""}, false);
}

static void done(const struct ovl *o, struct end *from, struct end *to)
{
	if (isdir(from) || isdir(to)) {
		layers_drop_tree(o, from->path);
		layers_drop_tree(o, to->path);
	}
}

/* Move within the upper. swap: an empty directory with markers that stay is in the way. */
static int move(const struct ovl *o, struct end *from, struct end *to, bool swap)
{
	struct part *a = dir_upper(o, from->parent), *b = dir_upper(o, to->parent);
	unsigned flags = swap ? RENAME_EXCHANGE : 0;
	bool below;
	int r = layers_below(o, from->parent, from->name, &below);

	if (r != 0)
		return r;
	if (below)
		return whiteout_rename(o, from->parent, from->name, (struct at){b->fd, to->name},
				       flags);
	if (renameat2(a->fd, from->name, b->fd, to->name, flags) == -1)
		return -errno;
	return swap ? whiteout_remove_dir(o, from->parent, from->name) : 0;
}

/* In two steps only where the markers cannot go first. */
static int move_over(const struct ovl *o, struct end *from, struct end *to)
{
	int r = whiteout_empty(o, (struct at){dir_upper(o, to->parent)->fd, to->name});

	layers_drop(o, to->path);
	if (r != 0 && r != -EOPNOTSUPP)
		return r;
	return move(o, from, to, r == -EOPNOTSUPP);
}

static int move_to(const struct ovl *o, struct end *from, struct end *to)
{
	bool was, over = to->e.part >= 0;
	int r = prepare(o, from, to);

	if (r == 0 && to->e.part < 0)
		r = whiteout_set_aside(o, to->parent, to->name, &was);
	if (r == 0 && over)
		r = inodes_index_note(o, &to->e);
	if (r == 0)
		r = move(o, from, to, false);
	if (r == -ENOTEMPTY || r == -EEXIST)
		r = move_over(o, from, to);
	if (r == 0)
		r = whiteout_clear(o, to->parent, to->name);
	if (over && r == 0)
		entries_removed(o, &to->e);
	else if (over)
		inodes_index_keep(o, &to->e);
	return r;
}

static int exchange(const struct ovl *o, struct end *from, struct end *to)
{
	struct part *a = dir_upper(o, from->parent), *b = dir_upper(o, to->parent);
	int r = prepare(o, from, to);

	if (r == 0)
		r = prepare(o, to, from);
	if (r == 0 && renameat2(a->fd, from->name, b->fd, to->name, RENAME_EXCHANGE) == -1)
		r = -errno;
	return r;
}

/* What renameat2(2) refuses before anything is touched. */
static int check(const struct ovl *o, struct end *from, struct end *to, unsigned flags)
{
	if (flags & ~(unsigned)(RENAME_NOREPLACE | RENAME_EXCHANGE))
		return -EINVAL;
	if (from->e.part < 0)
		return -ENOENT;
	if (flags & RENAME_EXCHANGE)
		return to->e.part < 0 ? -ENOENT : 0;
	if (to->e.part < 0)
		return 0;
	if (flags & RENAME_NOREPLACE)
		return -EEXIST;
	if (isdir(from) && !isdir(to))
		return -ENOTDIR;
	if (!isdir(from) && isdir(to))
		return -EISDIR;
	return isdir(to) ? readdir_empty(o, to->d) : 0;
}

int rename_entry(const struct ovl *o, const char *from, const char *to, unsigned flags)
{
	struct end a, b = {.e = {.part = -1}};
	int r = end_open(o, &a, from);

	if (r == -EINVAL)
		r = -ENOENT; /* a reserved name is not there */
	if (r == 0)
		r = end_open(o, &b, to);
	if (r == 0)
		r = check(o, &a, &b, flags);
	if (r == 0 && b.e.part >= 0 && !isdir(&a) && a.e.ino == b.e.ino)
		goto out; /* two names of one file: POSIX has nothing done */
	if (r == 0)
		r = end_raise(o, &a);
	if (r == 0)
		r = end_raise(o, &b);
	if (r == 0)
		r = flags & RENAME_EXCHANGE ? exchange(o, &a, &b) : move_to(o, &a, &b);
	if (r == 0)
		done(o, &a, &b);
out:
	end_close(o, &b);
	end_close(o, &a);
	return r;
}
