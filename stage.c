/* SPDX-License-Identifier: ISC */
/*
 * Building the new entries of a lower. A file is built in the directory where
 * it will be, so it is on the same file system, also where another one is
 * mounted in the lower; a directory is built with all that is in it. The source
 * is the merged tree: so a renamed directory gets its files from its old place
 * in the lower, by links, and they stay the files that they were.
 */
#include "stage.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <sys/tree.h>
#include <unistd.h>

#include "changes.h"
#include "copy.h"
#include "readdir.h"
#include "share.h"
#include "whiteout.h"

/* Files of several names. */

struct link {
	RB_ENTRY(link) tree;
	dev_t dev;
	ino_t ino;
	char *path; /* of the copy, in the lower as it is now */
};

static int compare_links(const struct link *a, const struct link *b)
{
	if (a->dev != b->dev)
		return a->dev < b->dev ? -1 : 1;
	return a->ino < b->ino ? -1 : a->ino > b->ino;
}

RB_HEAD(links, link);
RB_PROTOTYPE(links, link, tree, compare_links)
RB_GENERATE(links, link, tree, compare_links)

void stage_destroy(struct stage *s)
{
	struct link *l, *next;

	free(s->asked);
	s->asked = NULL;
	if (s->links == NULL)
		return;
	RB_FOREACH_SAFE(l, links, s->links, next) {
		RB_REMOVE(links, s->links, l);
		free(l->path);
		free(l);
	}
	free(s->links);
	s->links = NULL;
}

/* 1: `to` is a further name of the copy that was made of the file before. */
static int link_again(const struct stage *s, const struct stat *st, struct at to)
{
	struct link key = {.dev = st->st_dev, .ino = st->st_ino};
	struct link *l = s->links == NULL ? NULL : RB_FIND(links, s->links, &key);
	char *dir, *slash;
	int fd, r;

	if (l == NULL)
		return 0;
	dir = strdup(l->path);
	if (dir == NULL)
		return -ENOMEM;
	slash = strrchr(dir, '/');
	*slash = '\0';
	fd = place_open_below(s->place->root, dir);
	r = fd < 0 ? fd : at_link((struct at){fd, slash + 1}, to);
	if (fd >= 0)
		close(fd);
	free(dir);
	if (r == -EXDEV || r == -EMLINK)
		return 0; /* another file system is mounted there */
	return r == 0 ? 1 : r;
}

/* path: of the file in the merged tree, at or below the entry that is being built. */
static int remember(struct stage *s, const struct stat *st, const char *path)
{
	struct link *l = calloc(1, sizeof(*l)), *old;
	char staged[48];

	if (s->links == NULL && (s->links = calloc(1, sizeof(*s->links))) != NULL)
		RB_INIT(s->links);
	if (l == NULL || s->links == NULL) {
		free(l);
		return -ENOMEM;
	}
	l->dev = st->st_dev;
	l->ino = st->st_ino;
	place_staged(s->place->j, s->op, false, staged);
	if (asprintf(&l->path, "%.*s/%s%s", (int)(strrchr(s->op->path, '/') - s->op->path),
		     s->op->path, staged, path + strlen(s->op->path)) == -1) {
		free(l);
		return -ENOMEM;
	}
	old = RB_INSERT(links, s->links, l);
	if (old != NULL) { /* the first one was out of reach */
		free(l->path);
		free(l);
	}
	return 0;
}

/* Files. */

/* An ordinary user's own file may be unreadable to himself. */
static int copy_unreadable(const struct entry *e, struct at to)
{
	int r = at_remove_tree(to), back;

	if (r == 0)
		r = at_chmod(e->at, (e->st.st_mode & 07777) | S_IRUSR);
	if (r != 0)
		return r;
	r = copy_contents(e->at, to, &e->st, false, COPY_LAZY);
	back = at_chmod(e->at, e->st.st_mode & 07777);
	return r == 0 ? back : r;
}

/* Give st the owner that the lower's file has, where root commits what a user changed of it. */
static bool keep_owner(const struct stage *s, const struct entry *e, const char *path,
		       struct stat *st)
{
	struct entry old;
	bool kept;

	if (geteuid() != 0 || !e->upper || layers_lookup(&s->t->low, path, &old) != 0)
		return false;
	kept = changes_lost_owner(&s->t->o, st, &old.st);
	if (kept) {
		st->st_uid = old.st.st_uid;
		st->st_gid = old.st.st_gid;
	}
	entry_done(&s->t->low, &old);
	return kept;
}

static int stage_file(struct stage *s, const struct entry *e, const char *path, struct at to)
{
	bool ours = !e->upper && e->dir->part[e->part].layer == s->layer;
	int r = e->st.st_nlink > 1 ? link_again(s, &e->st, to) : 0;
	struct stat st = e->st;

	progress_add(s->progress, 1);
	if (r != 0)
		return r < 0 ? r : 0;
	if (!keep_owner(s, e, path, &st) && s->share && share_file(e, to)) {
		s->place->shared = true;
		return 0;
	}
	if (ours) {
		r = at_link(e->at, to);
		if (r == 0 || (r != -EXDEV && r != -EMLINK && r != -EPERM))
			return r;
	}
	r = copy_contents(e->at, to, &e->st, false, COPY_LAZY);
	if (r == -EACCES && e->upper && S_ISREG(e->st.st_mode) && e->st.st_uid == geteuid())
		r = copy_unreadable(e, to);
	if (r == 0)
		r = copy_meta_exactly(e->at, to, &st);
	if (r == 0 && e->st.st_nlink > 1)
		r = remember(s, &e->st, path);
	return r;
}

/* Directories. */

struct building {
	struct stage *s;
	int to;
};

static int stage_dir(struct stage *s, const char *path, struct at to, bool opaque);

static int failed(struct stage *s, const char *path, int r)
{
	if (r != 0 && s->place->failed == NULL)
		s->place->failed = strdup(path);
	return r;
}

static int stage_child(void *arg, struct dir *d, unsigned part, const char *name)
{
	struct building *b = arg;
	struct at to = {b->to, name};
	const struct change *x;
	struct entry e;
	char *path;
	int r;

	if (asprintf(&path, "%s/%s", d->path, name) == -1)
		return -ENOMEM;
	x = changes_find(b->s->c, path);
	if (x != NULL && x->left_out) {
		free(path);
		return 0;
	}
	r = layers_entry(&b->s->t->o, d, part, name, &e);
	if (r == 0) {
		if (S_ISDIR(e.st.st_mode))
			r = stage_dir(b->s, path, to, false);
		else
			r = stage_file(b->s, &e, path, to);
		entry_done(&b->s->t->o, &e);
	}
	r = failed(b->s, path, r);
	free(path);
	return r;
}

static int stage_dir(struct stage *s, const char *path, struct at to, bool opaque)
{
	struct building b = {s, -1};
	bool share = s->share;
	struct dir *d;
	struct stat st;
	int r = layers_dir(&s->t->o, path, &d);

	if (r != 0)
		return r;
	progress_add(s->progress, 1);
	r = dir_stat(&s->t->o, d, &st);
	if (r == 0 && d->nparts == 0)
		r = -EBUSY; /* our own mount, seen in a lower */
	if (r == 0 && mkdirat(to.fd, to.name, 0700) == -1)
		r = -errno;
	if (r == 0) {
		b.to = at_open(to, O_RDONLY | O_DIRECTORY, 0);
		r = b.to < 0 ? b.to : 0;
	}
	/* What is made inside would inherit the default list of the place. */
	if (r == 0)
		at_removexattr((struct at){b.to, ""}, "system.posix_acl_default");
	s->share = r == 0 && share && share_new(s->t, d);
	if (r == 0)
		r = readdir_each(&s->t->o, d, stage_child, &b);
	s->share = share;
	if (r == 0 && opaque)
		r = whiteout_set_opaque(&s->t->o, (struct at){b.to, ""}, false);
	if (r == 0)
		r = copy_meta_exactly((struct at){d->part[0].fd, ""}, (struct at){b.to, ""}, &st);
	if (b.to >= 0)
		close(b.to);
	dir_put(&s->t->o, d);
	return r;
}

/* Operations. */

static int ask_share(struct stage *s, struct dir *d)
{
	if (s->asked == NULL || strcmp(s->asked, d->path) != 0) {
		free(s->asked);
		s->asked = strdup(d->path);
		if (s->asked == NULL)
			return -ENOMEM;
		s->may_share = share_possible(s->t, d);
	}
	s->share = s->may_share;
	return 0;
}

static int stage_put(struct stage *s, const struct op *op, struct at to)
{
	const char *name = strrchr(op->path, '/') + 1;
	struct entry e;
	int r;

	if (op->whiteout) {
		r = layers_reserved(name) ? mknodat(to.fd, to.name, S_IFREG | 0644, 0)
					  : mknodat(to.fd, to.name, S_IFCHR, makedev(0, 0));
		return r == -1 ? -errno : 0;
	}
	r = layers_lookup(&s->t->o, op->path, &e);
	if (r != 0)
		return r;
	r = ask_share(s, e.dir);
	if (r == 0 && S_ISDIR(e.st.st_mode))
		r = stage_dir(s, op->path, to, op->opaque);
	else if (r == 0)
		r = stage_file(s, &e, op->path, to);
	entry_done(&s->t->o, &e);
	return r;
}

int stage_op(struct stage *s, struct op *op)
{
	char staged[48];
	const char *name;
	struct stat st;
	int fd = place_parent(s->place, op->path, &name), r = fd < 0 ? fd : 0;

	if (r == 0 && op->kind == OP_MKDIR) {
		r = mkdirat(fd, name, 0700) == -1 ? -errno : 0;
	} else if (r == 0 && op->kind != OP_META) {
		r = at_stat((struct at){fd, name}, &st, 0);
		op->old_ino = r == 0 ? st.st_ino : 0;
		if (r == -ENOENT)
			r = op->kind == OP_PUT ? 0 : -ESTALE;
	}
	if (r == 0 && op->kind == OP_PUT) {
		struct at to = {fd, staged};

		place_staged(s->place->j, op, false, staged);
		s->op = op;
		r = stage_put(s, op, to);
		if (r == 0)
			r = at_stat(to, &st, 0);
		op->new_ino = r == 0 ? st.st_ino : 0;
	}
	return failed(s, op->path, r);
}
