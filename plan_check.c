/* SPDX-License-Identifier: ISC */
/*
 * What can be known before a commit begins: whether the caller may do it,
 * whether there is room, and whether the lower is still the one that the upper
 * was made for.
 */
#include <dirent.h>
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "inodes.h"
#include "options.h"
#include "place.h"
#include "plan.h"
#include "whiteout.h"

static int refuse(const struct plan *p, const char *path, const char *why)
{
	warnx("%s: cannot commit to %s: %s: %s", p->t->label,
	      options_show(p->t->o.layer[p->layer].path), options_show(*path == '\0' ? "/" : path),
	      why);
	return -1;
}

static int refuse_errno(const struct plan *p, const char *path, int r)
{
	return refuse(p, path, strerror(-r));
}

/* Permission. */

static int may_change(const struct plan *p, const char *path, int fd)
{
	struct stat st;
	int r = at_stat((struct at){fd, ""}, &st, 0);

	if (r != 0)
		return refuse_errno(p, path, r);
	if (faccessat(fd, ".", W_OK | X_OK, AT_EACCESS) == 0 ||
	    (errno == EACCES && st.st_uid == geteuid()))
		return 0;
	return refuse_errno(p, path, -errno);
}

/* In a sticky directory only the owner removes a file. */
static int may_replace(const struct plan *p, const struct op *op, int fd, const char *name)
{
	struct stat dir, st;

	if (p->t->o.privileged || geteuid() == 0 || at_stat((struct at){fd, ""}, &dir, 0) != 0 ||
	    !(dir.st_mode & S_ISVTX) || dir.st_uid == geteuid())
		return 0;
	if (at_stat((struct at){fd, name}, &st, 0) != 0 || st.st_uid == geteuid())
		return 0;
	return refuse_errno(p, op->path, -EPERM);
}

/* What is to be kept of a directory that stays must be ours to set. */
static int may_set_meta(const struct plan *p, const struct op *op, struct place *place)
{
	const struct change *x = changes_find(p->c, op->path);
	int fd = place_dir(place, op->path);

	if (fd < 0)
		return refuse_errno(p, op->path, fd);
	if (x == NULL || p->t->o.privileged || x->old.st_uid == geteuid())
		return 0;
	if (x->what & (COMPARE_MODE | COMPARE_XATTR | COMPARE_OWNER))
		return refuse_errno(p, op->path, -EPERM);
	return 0;
}

/* Trees that go. */

/* A mount is a boundary even where the device is the same. */
static uint64_t mount_id(struct at a)
{
	struct statx stx;

	if (statx(a.fd, a.name, AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH | AT_STATX_DONT_SYNC,
		  STATX_MNT_ID, &stx) == -1 ||
	    !(stx.stx_mask & STATX_MNT_ID))
		return 0;
	return stx.stx_mnt_id;
}

struct going {
	const struct plan *p;
	const char *path;
	int fd;
	uint64_t mount;
	dev_t dev;
};

static bool is_needed(const struct plan *p, const struct stat *st)
{
	for (unsigned i = 0; i < p->t->o.nlayers; i++)
		if (st->st_dev == p->t->o.layer[i].dev && st->st_ino == p->t->o.layer[i].ino)
			return true;
	return st->st_dev == p->t->o.work_st.st_dev && st->st_ino == p->t->o.work_st.st_ino;
}

static int check_going(void *arg, const char *name, unsigned char type, ino_t ino)
{
	struct going *g = arg, inner = *g;
	struct at a = {g->fd, name};
	struct stat st;
	int r;

	(void)ino;
	if (type != DT_DIR && type != DT_UNKNOWN)
		return 0;
	r = at_stat(a, &st, AT_STATX_DONT_SYNC);
	if (r != 0 || !S_ISDIR(st.st_mode))
		return r == -ENOENT ? 0 : r;
	if (st.st_dev != g->dev || mount_id(a) != g->mount)
		return -EBUSY;
	if (is_needed(g->p, &st))
		return -EDEADLK;
	inner.fd = at_open_quiet(a, O_RDONLY | O_DIRECTORY);
	if (inner.fd < 0)
		return inner.fd;
	r = at_list(inner.fd, check_going, &inner);
	close(inner.fd);
	return r;
}

/* The old entry must not have a mount in it, nor what this command works with. */
static int check_old(const struct plan *p, const struct op *op, int fd, const char *name)
{
	struct going g = {p, op->path, fd, mount_id((struct at){fd, ""}), 0};
	struct stat st;
	int r = at_stat((struct at){fd, ""}, &st, 0);

	g.dev = st.st_dev;
	if (r == 0)
		r = at_stat((struct at){fd, name}, &st, AT_STATX_DONT_SYNC);
	if (r == -ENOENT)
		return 0;
	if (r == 0 && !S_ISDIR(st.st_mode) && mount_id((struct at){fd, name}) != g.mount)
		r = -EBUSY;
	if (r == 0)
		r = check_going(&g, name, DT_UNKNOWN, 0);
	if (r == -EDEADLK)
		return refuse(p, op->path, "a layer of the target lies in it");
	if (r == -EBUSY)
		return refuse(p, op->path, "something is mounted there");
	return r != 0 ? refuse_errno(p, op->path, r) : 0;
}

/* The lower's own directory must be what is seen of it. */
static int check_same(const struct plan *p, const struct op *op, int fd)
{
	char *parent = strndup(op->path, (size_t)(strrchr(op->path, '/') - op->path));
	struct dir *d = NULL;
	struct stat a, b;
	bool same = false;
	int r = parent == NULL ? -ENOMEM : layers_dir(&p->t->low, parent, &d);

	free(parent);
	if (r == 0)
		r = at_stat((struct at){fd, ""}, &a, 0);
	for (unsigned i = 0; r == 0 && i < d->nparts; i++)
		if (d->part[i].layer + 1 == p->layer &&
		    at_stat((struct at){d->part[i].fd, ""}, &b, 0) == 0)
			same = a.st_dev == b.st_dev && a.st_ino == b.st_ino;
	dir_put(&p->t->low, d);
	if (r != 0)
		return refuse_errno(p, op->path, r);
	return same ? 0 : refuse(p, op->path, "another lower has renamed its directory");
}

static bool is_made(const struct plan *p, const char *path)
{
	for (size_t i = 0; i < p->nfirst; i++)
		if (p->j.op[i].kind == OP_MKDIR && strcmp(p->j.op[i].path, path) == 0)
			return true;
	return false;
}

/* last: of the operation before, which most are in one directory with, or NULL. */
static int check_op(const struct plan *p, struct place *place, const struct op *op,
		    const char *last)
{
	const char *name;
	size_t len = (size_t)(strrchr(op->path, '/') + 1 - op->path);
	bool again = last != NULL && strncmp(last, op->path, len) == 0 &&
		     strchr(last + len, '/') == NULL;
	int fd;

	if (op->kind == OP_META)
		return is_made(p, op->path) ? 0 : may_set_meta(p, op, place);
	fd = place_parent(place, op->path, &name);
	if (fd == -ENOENT)
		return 0; /* it will be made */
	if (fd < 0)
		return refuse_errno(p, op->path, fd);
	if (!again && (check_same(p, op, fd) != 0 || may_change(p, op->path, fd) != 0))
		return -1;
	if (op->kind == OP_MKDIR)
		return 0;
	return may_replace(p, op, fd, name) != 0 ? -1 : check_old(p, op, fd, name);
}

/* Space. */

struct need {
	dev_t dev;
	uint64_t bytes, old, files;
	const char *path;
};

enum { MAX_NEEDS = 64 };

static struct need *need_of(struct need *list, size_t *n, dev_t dev, const char *path)
{
	for (size_t i = 0; i < *n; i++)
		if (list[i].dev == dev)
			return &list[i];
	if (*n == MAX_NEEDS)
		return NULL;
	list[*n] = (struct need){.dev = dev, .path = path};
	return &list[(*n)++];
}

static int check_room(const struct plan *p, struct place *place, const struct need *n, bool atomic)
{
	struct statvfs fs;
	const char *name;
	uint64_t bytes = n->bytes;
	int fd = place_parent(place, n->path, &name);

	if (fd < 0 || fstatvfs(fd, &fs) == -1)
		return 0;
	if (fs.f_flag & ST_RDONLY)
		return refuse_errno(p, n->path, -EROFS);
	if (!atomic) /* what is replaced gives room */
		bytes -= n->old < bytes ? n->old : bytes;
	if (bytes > (uint64_t)fs.f_bavail * fs.f_frsize)
		return refuse_errno(p, n->path, -ENOSPC);
	if (atomic && fs.f_files != 0 && n->files > fs.f_favail)
		return refuse_errno(p, n->path, -ENOSPC);
	return 0;
}

static int check_space(const struct plan *p, struct place *place, bool atomic)
{
	struct need list[MAX_NEEDS];
	size_t n = 0;
	int r = 0;

	for (size_t i = 0; i < p->nfirst + p->nput; i++) {
		const struct op *op = &p->j.op[i];
		const char *name;
		struct stat st, old;
		struct need *need;
		int fd = place_parent(place, op->path, &name);

		if (fd < 0 || at_stat((struct at){fd, ""}, &st, 0) != 0)
			continue;
		need = need_of(list, &n, st.st_dev, op->path);
		if (need == NULL || st.st_dev == p->t->o.layer[0].dev)
			continue; /* most files are shared: what is needed cannot be told */
		need->bytes += op->bytes;
		need->files += op->files;
		if (at_stat((struct at){fd, name}, &old, 0) == 0 && S_ISREG(old.st_mode) &&
		    old.st_nlink == 1)
			need->old += (uint64_t)old.st_blocks * 512;
	}
	for (size_t i = 0; r == 0 && i < n; i++)
		r = check_room(p, place, &list[i], atomic);
	return r;
}

int plan_check(const struct plan *p, bool atomic)
{
	struct place place;
	struct journal none = {0};
	int r = 0;

	if (p->j.nop == 0)
		return 0;
	place_open(&place, p->t, p->layer, &none);
	for (size_t i = 0; r == 0 && i < p->j.nop; i++)
		r = check_op(p, &place, &p->j.op[i],
			     i > 0 && p->j.op[i - 1].kind != OP_META ? p->j.op[i - 1].path : NULL);
	if (r == 0)
		r = check_space(p, &place, atomic);
	place_close(&place);
	return r;
}

/* Conflicts. */

static bool later(struct timespec a, struct timespec b)
{
	return a.tv_sec != b.tv_sec ? a.tv_sec > b.tv_sec : a.tv_nsec > b.tv_nsec;
}

/* Both: moving a file changes its ctime only, and a mtime can be set at will. */
static bool changed_since(const struct stat *st, struct timespec when)
{
	return when.tv_sec != 0 && later(st->st_mtim, when) && later(st->st_ctim, when);
}

/* When a file of the upper was made; zero where the file system does not tell. */
static struct timespec born(struct at a)
{
	struct statx stx;

	if (statx(a.fd, a.name, AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH, STATX_BTIME, &stx) == -1 ||
	    !(stx.stx_mask & STATX_BTIME))
		return (struct timespec){0};
	return (struct timespec){stx.stx_btime.tv_sec, stx.stx_btime.tv_nsec};
}

/*
 * When a name was deleted: its whiteout says, or what is in its place; *when stays
 * where neither is there, and it went with a directory above. Else it is the birth of
 * the opaque directory in which it is not any more.
 */
static int deleted_when(const struct target *t, const char *path, bool inherited,
			struct timespec *when)
{
	char *parent = strndup(path, (size_t)(strrchr(path, '/') - path));
	struct part *p;
	struct dir *d;
	struct stat st;
	struct at a;
	int r = parent == NULL ? -ENOMEM : layers_dir(&t->o, parent, &d);

	free(parent);
	if (!inherited)
		*when = (struct timespec){0};
	if (r != 0)
		return r == -ENOENT || r == -ENOTDIR ? 0 : r;
	p = dir_upper(&t->o, d);
	a = (struct at){p == NULL ? -1 : p->fd, strrchr(path, '/') + 1};
	if (p != NULL && whiteout_stat(p, a.name, &st) == 0)
		*when = st.st_mtim;
	else if (p != NULL && at_stat(a, &st, 0) == 0)
		*when = born(a);
	else if (p != NULL && !inherited && d->path[0] != '\0')
		*when = born((struct at){p->fd, ""});
	dir_put(&t->o, d);
	return 0;
}

/* Whether the old file of x is not the one that the upper's file was made from. */
static int is_conflict(const struct target *t, const struct change *x, bool *conflict,
		       struct timespec *when)
{
	struct origin origin;
	struct entry e, b;
	int r = layers_lookup(&t->o, x->path, &e);

	if (r != 0)
		return r;
	*when = born(e.at);
	r = layers_lookup(&t->low, change_old_path(x), &b);
	if (r == 0) {
		if (inodes_origin(e.at, e.st.st_mode, &origin) == 0 && origin.ino == b.ino)
			*conflict = !inodes_is_origin(&origin, &x->old);
		else
			*conflict = changed_since(&x->old, *when);
		entry_done(&t->low, &b);
	}
	entry_done(&t->o, &e);
	return r;
}

static bool is_inside(const char *path, const char *dir)
{
	size_t len = strlen(dir);

	return strncmp(path, dir, len) == 0 && path[len] == '/';
}

int plan_conflicts(const struct plan *p, void (*each)(void *arg, const char *path), void *arg)
{
	const struct change *top = NULL;
	struct timespec when = {0}, top_when = {0};
	int n = 0, r = 0;

	for (size_t i = 0; r == 0 && i < p->c->n; i++) {
		const struct change *x = &p->c->list[i];
		bool conflict = false, inside;

		if (x->left_out || x->kind == CHANGE_ADDED || x->kind == CHANGE_SAME)
			continue;
		if (x->kind == CHANGE_DELETED) {
			inside = top != NULL && is_inside(x->path, top->path);
			when = top_when;
			r = deleted_when(p->t, x->path, inside, &when);
			if (!inside) {
				top = x;
				top_when = when;
			}
			conflict = changed_since(&x->old, when);
		} else if (x->kind == CHANGE_TYPE || !S_ISDIR(x->new.st_mode)) {
			r = is_conflict(p->t, x, &conflict, &top_when);
			top = x; /* that is the time of what is deleted with it */
		}
		if (r == 0 && conflict) {
			n++;
			each(arg, change_old_path(x));
		}
	}
	return r != 0 ? r : n;
}
