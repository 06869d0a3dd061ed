/* SPDX-License-Identifier: ISC */
/*
 * Copy-up. Owner first, as changing it clears what the later steps set; data
 * before attributes; the times last; the rename into place ends it. The data
 * are written before the rename, so that a machine that loses power has the
 * lower file or the whole copy.
 */
#include "copyup.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "copy.h"
#include "inodes.h"
#include "readdir.h"
#include "whiteout.h"
#include "work.h"
#include "xattr.h"

enum { STRIPES = 16 };

/* One copy-up a file at a time; the number chooses the lock. */
#define FREE PTHREAD_MUTEX_INITIALIZER
static pthread_mutex_t stripe[STRIPES] = {
	FREE, FREE, FREE, FREE, FREE, FREE, FREE, FREE,
	FREE, FREE, FREE, FREE, FREE, FREE, FREE, FREE,
};
#undef FREE

/* Build a copy of a file (no directory) that carries the number ino. */
static int stage_file(const struct ovl *o, struct at from, struct at to, struct stat *st,
		      uint64_t ino, bool truncate)
{
	struct stat origin = *st;
	int r = copy_contents(from, to, st, truncate, o->safety);

	if (truncate) /* a change already */
		st->st_mtim.tv_nsec = UTIME_NOW;
	if (r == 0)
		r = inodes_store(o, to, ino, &origin);
	return r == 0 ? copy_meta(from, to, st) : r;
}

/* Directories. */

static int stage_dir(const struct ovl *o, struct dir *d, struct at to, struct stat *st)
{
	int r = dir_stat(o, d, st);

	if (r != 0)
		return r;
	if (d->nparts == 0) /* our own mount, seen in a lower */
		return -EBUSY;
	if (mkdirat(to.fd, to.name, 0700) == -1)
		return -errno;
	r = copy_meta((struct at){d->part[0].fd, ""}, to, st);
	/* A directory can be moved only by those who may write to it. */
	if (r == 0 && !(st->st_mode & S_IWUSR) && !o->privileged)
		r = at_chmod(to, (st->st_mode & 07777) | S_IWUSR);
	if (r != 0)
		work_discard(o, to);
	return r;
}

static int make_upper_dir(const struct ovl *o, struct dir *parent, struct dir *d)
{
	const char *name = strrchr(d->path, '/') + 1;
	struct at to = {dir_upper(o, parent)->fd, name};
	char buf[32];
	struct at staged = work_stage(o, buf);
	struct stat st;
	int r = stage_dir(o, d, staged, &st);

	if (r != 0)
		return r;
	r = work_place(staged, to);
	if (r == 0 && !(st.st_mode & S_IWUSR) && !o->privileged)
		r = at_chmod(to, st.st_mode & 07777);
	else if (r != 0)
		work_discard(o, staged);
	return r == -EEXIST ? 0 : r;
}

/*
 * Give d a part in the upper, unless another thread did: *now is then the directory
 * that is in the cache. Everybody must have that one, for its part is told which
 * markers it has.
 */
static int raise_dir(const struct ovl *o, struct dir *parent, struct dir *d, struct dir **now)
{
	pthread_mutex_t *lock = &stripe[d->ino % STRIPES];
	int r;

	pthread_mutex_lock(lock);
	r = layers_dir(o, d->path, now);
	if (r == 0 && dir_upper(o, *now) == NULL) {
		r = make_upper_dir(o, parent, *now);
		dir_put(o, *now);
		if (r == 0) {
			layers_drop(o, d->path);
			r = layers_dir(o, d->path, now);
		}
	}
	pthread_mutex_unlock(lock);
	return r;
}

int copyup_dir(const struct ovl *o, struct dir **dp)
{
	struct dir *d = *dp, *parent, *now;
	char *path;
	int r;

	if (!o->writable)
		return -EROFS;
	if (dir_upper(o, d) != NULL)
		return 0;
	path = strndup(d->path, (size_t)(strrchr(d->path, '/') - d->path));
	if (path == NULL)
		return -ENOMEM;
	r = layers_dir(o, path, &parent);
	free(path);
	if (r != 0)
		return r;
	r = copyup_dir(o, &parent);
	if (r == 0)
		r = raise_dir(o, parent, d, &now);
	dir_put(o, parent);
	if (r == 0 && dir_upper(o, now) == NULL) {
		dir_put(o, now);
		r = -ESTALE;
	}
	if (r != 0)
		return r;
	dir_put(o, d);
	*dp = now;
	return 0;
}

/* Entries. */

/* Put the copy of e into the upper directory d. */
static int place_copy(const struct ovl *o, struct dir *d, struct entry *e, bool truncate)
{
	struct part *upper = dir_upper(o, d);
	struct at to = {upper->fd, e->name};
	char buf[32];
	struct at staged = work_stage(o, buf);
	struct stat origin = e->st;
	bool several = !e->indexed && e->st.st_nlink > 1;
	int r;

	inodes_mark(o, d);
	if (e->indexed)
		r = at_link(e->at, staged);
	else
		r = stage_file(o, e->at, staged, &e->st, e->ino, truncate);
	if (r == 0 && several)
		r = inodes_index_add(o, e->ino, staged, &origin);
	if (r == 0)
		r = inodes_index_note(o, e);
	if (r == 0 && (r = work_place(staged, to)) != 0)
		inodes_index_keep(o, e);
	if (r != 0)
		work_discard(o, staged);
	if (r == 0 && (several || e->indexed))
		r = inodes_index_take(o, e->ino, &origin);
	if (r == 0)
		files_switch(o, e->ino, to);
	return r;
}

static int copyup_found(const struct ovl *o, struct dir *d, struct entry *e, bool truncate)
{
	struct entry now;
	pthread_mutex_t *lock = &stripe[e->ino % STRIPES];
	int r;

	pthread_mutex_lock(lock);
	r = layers_find_in(o, d, e->name, &now); /* another may have been faster */
	if (r == 0) {
		if (now.part < 0)
			r = -ENOENT;
		else if (!now.upper || now.indexed)
			r = place_copy(o, d, &now, truncate);
		entry_done(o, &now);
	}
	pthread_mutex_unlock(lock);
	return r;
}

/* Bring e up to date with what directory d has now. */
static int refresh(const struct ovl *o, struct dir *d, struct entry *e)
{
	const char *name = e->name;
	int r;

	entry_done(o, e);
	r = layers_find_in(o, d, name, e);
	if (r == 0 && (e->part < 0 || !e->upper)) {
		entry_done(o, e);
		r = -ESTALE;
	}
	return r;
}

static int subdir(const struct ovl *o, struct dir *parent, const char *name, struct dir **dp)
{
	size_t len = strlen(parent->path) + strlen(name) + 2;
	char *path = malloc(len);
	int r;

	if (path == NULL)
		return -ENOMEM;
	strlcpy(path, parent->path, len);
	strlcat(path, "/", len);
	strlcat(path, name, len);
	r = layers_dir(o, path, dp);
	free(path);
	return r;
}

static int copyup_subdir(const struct ovl *o, struct dir *parent, const char *name)
{
	struct dir *d;
	int r = subdir(o, parent, name, &d);

	if (r == 0) {
		r = copyup_dir(o, &d);
		dir_put(o, d);
	}
	return r;
}

int copyup_entry(const struct ovl *o, struct entry *e, bool truncate)
{
	struct dir *d;
	int r;

	if (e->upper && !e->indexed)
		return 0;
	if (!o->writable)
		return -EROFS;
	d = dir_ref(o, e->dir);
	r = copyup_dir(o, &d);
	if (r == 0 && S_ISDIR(e->st.st_mode))
		r = copyup_subdir(o, d, e->name);
	else if (r == 0)
		r = copyup_found(o, d, e, truncate);
	if (r == 0)
		r = refresh(o, d, e);
	dir_put(o, d);
	return r;
}

static int stage_hidden(const struct ovl *o, struct hidden *h, struct at to)
{
	struct at from = {h->file.fd, ""};

	if (!S_ISDIR(h->st.st_mode))
		return stage_file(o, from, to, &h->st, h->file.ino, false);
	if (mkdirat(to.fd, to.name, 0700) == -1)
		return -errno;
	return copy_meta(from, to, &h->st);
}

/* With the file's lock held. A name that is left to the file follows the copy through the index. */
static int copy_hidden(const struct ovl *o, struct hidden *h)
{
	struct stat origin = h->st;
	char buf[32];
	struct at staged = work_stage(o, buf);
	int fd, r = stage_hidden(o, h, staged);

	if (r == 0 && inodes_indexed(o, h->file.ino))
		r = inodes_index_add(o, h->file.ino, staged, &origin);
	fd = r == 0 ? at_open(staged, O_PATH, 0) : r;
	if (fd >= 0) {
		files_switch(o, h->file.ino, (struct at){fd, ""});
		close(fd);
	}
	work_discard(o, staged);
	return fd < 0 ? fd : 0;
}

int copyup_hidden(const struct ovl *o, struct hidden *h)
{
	pthread_mutex_t *lock = &stripe[h->file.ino % STRIPES];
	int r = 0;

	if (h->upper)
		return 0;
	if (!o->writable)
		return -EROFS;
	pthread_mutex_lock(lock);
	if (!h->upper)
		r = copy_hidden(o, h);
	pthread_mutex_unlock(lock);
	return r;
}

/* Whole trees. */

static int copyup_each(void *arg, struct dir *d, unsigned part, const char *name)
{
	const struct ovl *o = *(const struct ovl **)arg;
	struct dir *child;
	struct entry e;
	int r = layers_entry(o, d, part, name, &e);

	if (r != 0)
		return r;
	if (!S_ISDIR(e.st.st_mode)) {
		r = copyup_entry(o, &e, false);
	} else if ((r = subdir(o, d, name, &child)) == 0) {
		if (!child->pure)
			inodes_mark(o, d);
		r = copyup_tree(o, &child);
		dir_put(o, child);
	}
	entry_done(o, &e);
	return r;
}

/* A merged directory's number tells of its path, which is about to change. */
static int keep_number(const struct ovl *o, struct dir *d)
{
	struct at upper = {dir_upper(o, d)->fd, ""};
	struct stat st;
	int r = at_stat(upper, &st, 0);

	if (r == 0)
		r = inodes_store(o, upper, d->ino, &st);
	return r == 0 ? inodes_mark(o, d) : r;
}

/* Below a directory that only the upper has there may be one that is redirected. */
int copyup_tree(const struct ovl *o, struct dir **dp)
{
	int r = (*dp)->nparts == 0 ? -EBUSY : copyup_dir(o, dp);

	if (r == 0 && !(*dp)->pure)
		r = keep_number(o, *dp);
	return r == 0 ? readdir_each(o, *dp, copyup_each, &o) : r;
}
