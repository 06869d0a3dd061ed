/* SPDX-License-Identifier: ISC */
/*
 * Swapping. A staged entry and the old one change places in one step
 * (RENAME_EXCHANGE), so that the old one is kept under the staged name until all
 * is done, and can go back. Which of the two a name has is told by the inode
 * number in the journal, so every step can be repeated after a crash.
 */
#include "place.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "changes.h"
#include "copy.h"
#include "inodes.h"
#include "share.h"
#include "whiteout.h"

/* Opening. */

void place_open(struct place *p, const struct target *t, unsigned layer, struct journal *j)
{
	*p = (struct place){.t = t, .root = t->o.layer[layer].fd, .j = j, .fd = -1};
}

static void forget_dir(struct place *p)
{
	if (p->fd != -1)
		close(p->fd);
	free(p->path);
	p->fd = -1;
	p->path = NULL;
}

void place_close(struct place *p)
{
	forget_dir(p);
	free(p->failed);
	p->failed = NULL;
}

int place_open_below(int root, const char *path)
{
	int fd = at_open((struct at){root, "."}, O_PATH | O_DIRECTORY, 0);

	while (fd >= 0 && *path != '\0') {
		char name[256];
		const char *end = strchrnul(path + 1, '/');
		size_t len = (size_t)(end - path - 1);
		int next;

		if (len == 0 || len >= sizeof(name)) {
			close(fd);
			return -EINVAL;
		}
		memcpy(name, path + 1, len);
		name[len] = '\0';
		next = strcmp(name, "..") == 0 || strcmp(name, ".") == 0
			       ? -EINVAL
			       : at_open((struct at){fd, name}, O_PATH | O_DIRECTORY, 0);
		close(fd);
		fd = next;
		path = end;
	}
	return fd;
}

int place_dir(struct place *p, const char *path)
{
	if (p->path != NULL && strcmp(p->path, path) == 0)
		return p->fd;
	forget_dir(p);
	p->fd = place_open_below(p->root, path);
	if (p->fd < 0) {
		int r = p->fd;

		p->fd = -1;
		return r;
	}
	p->path = strdup(path);
	if (p->path == NULL) {
		forget_dir(p);
		return -ENOMEM;
	}
	return p->fd;
}

int place_parent(struct place *p, const char *path, const char **name)
{
	const char *slash = strrchr(path, '/');
	char *dir = strndup(path, (size_t)(slash - path));
	int fd = dir == NULL ? -ENOMEM : place_dir(p, dir);

	free(dir);
	*name = slash + 1;
	return fd;
}

void place_staged(const struct journal *j, const struct op *op, bool old, char buf[48])
{
	snprintf(buf, 48, "%s%lu%s", j->plain ? JOURNAL_PLAIN : JOURNAL_STAGED, op->n,
		 old ? ".old" : "");
}

int place_failed(struct place *p, const char *path, int r)
{
	if (r != 0 && p->failed == NULL)
		p->failed = strdup(*path == '\0' ? "/" : path);
	return r;
}

/* Directories that are worked in. */

int place_note(struct place *p, const char *path)
{
	struct stat st;
	int fd, r;

	if (p->j->ndir > 0 && strcmp(p->j->dir[p->j->ndir - 1].path, path) == 0)
		return 0;
	fd = place_dir(p, path);
	if (fd == -ENOENT)
		return 0; /* it will be made */
	r = fd < 0 ? fd : at_stat((struct at){fd, ""}, &st, 0);
	if (r == 0)
		r = journal_add_dir(p->j, path, &st);
	return place_failed(p, path, r);
}

int place_unlock(struct place *p)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < p->j->ndir && geteuid() != 0; i++) {
		const struct journal_dir *d = &p->j->dir[i];
		int fd;

		if ((d->mode & S_IRWXU) == S_IRWXU)
			continue;
		fd = place_dir(p, d->path);
		r = fd < 0 ? fd : at_chmod((struct at){fd, ""}, d->mode | S_IRWXU);
		if (r == -EPERM) /* it is not ours; perhaps others may write */
			r = 0;
		r = place_failed(p, d->path, r);
	}
	return r;
}

/* A directory of the upper itself, without what others see in it. */
static int upper_dir(const struct place *p, const char *path)
{
	return place_open_below(p->t->o.layer[0].fd, path);
}

/* The times of the merged directory, whose changes are in place now. */
static void take_times(const struct place *p, const struct journal_dir *d, struct timespec times[2])
{
	struct stat st;
	int fd = upper_dir(p, d->path);

	memcpy(times, d->times, sizeof(d->times));
	if (fd < 0)
		return;
	if (at_stat((struct at){fd, ""}, &st, 0) == 0) {
		times[0] = st.st_atim;
		times[1] = st.st_mtim;
	}
	close(fd);
}

/* Give a directory that was worked in its old mode back, and its old or new times. */
static int restore_dir(struct place *p, const struct journal_dir *d, bool done)
{
	struct timespec times[2];
	int fd = place_dir(p, d->path), r;
	struct stat st;

	if (fd == -ENOENT)
		return 0;
	r = fd < 0 ? fd : at_stat((struct at){fd, ""}, &st, 0);
	if (r == 0 && geteuid() != 0 && (d->mode & S_IRWXU) != S_IRWXU &&
	    (st.st_mode & 07777) == (d->mode | S_IRWXU))
		r = at_chmod((struct at){fd, ""}, d->mode);
	memcpy(times, d->times, sizeof(times));
	if (done)
		take_times(p, d, times);
	if (r == 0) {
		r = at_utimens((struct at){fd, ""}, times);
		if (r == -EPERM || r == -EACCES) /* somebody else's directory: they are lost */
			r = 0;
	}
	return place_failed(p, d->path, r);
}

/* On the disk. */

static int sync_dir(int fd)
{
	int dir = at_open((struct at){fd, "."}, O_RDONLY | O_DIRECTORY, 0), r;

	if (dir == -EACCES)
		return 0;
	if (dir < 0)
		return dir;
	r = syncfs(dir) == -1 ? -errno : 0;
	close(dir);
	return r;
}

int place_sync(struct place *p)
{
	dev_t seen[64];
	size_t n = 0;
	int r = sync_dir(p->root);

	seen[n++] = p->j->dev;
	for (size_t i = 0; r == 0 && i < p->j->ndir; i++) {
		const char *path = p->j->dir[i].path;
		struct stat st;
		int fd = place_dir(p, path);
		bool again = false;

		if (fd == -ENOENT)
			continue;
		r = fd < 0 ? fd : at_stat((struct at){fd, ""}, &st, 0);
		for (size_t k = 0; r == 0 && k < n; k++)
			again = again || seen[k] == st.st_dev;
		if (r != 0 || again)
			continue;
		if (n < sizeof(seen) / sizeof(seen[0]))
			seen[n++] = st.st_dev;
		r = place_failed(p, path, sync_dir(fd));
	}
	return r;
}

/* Swapping. */

/* Which inode has a name; 0: none has. */
static int inode_of(struct at a, ino_t *ino)
{
	struct stat st;
	int r = at_stat(a, &st, 0);

	*ino = r == 0 ? st.st_ino : 0;
	return r == -ENOENT ? 0 : r;
}

static int move(int fd, const char *from, const char *to, unsigned flags)
{
	int r = renameat2(fd, from, fd, to, flags) == -1 ? -errno : 0;

	if ((r == -EINVAL || r == -ENOSYS) && flags == RENAME_NOREPLACE &&
	    faccessat(fd, to, F_OK, AT_SYMLINK_NOFOLLOW) == -1)
		r = renameat(fd, from, fd, to) == -1 ? -errno : 0;
	return r;
}

/* The three names of an operation, and what they have now. */
struct names {
	int fd;
	const char *name;
	char staged[48], waiting[48];
	ino_t there, in_staged, in_waiting;
};

static int look(struct place *p, const struct op *op, struct names *n)
{
	int r;

	n->fd = place_parent(p, op->path, &n->name);
	if (n->fd < 0)
		return n->fd;
	place_staged(p->j, op, false, n->staged);
	place_staged(p->j, op, true, n->waiting);
	r = inode_of((struct at){n->fd, n->name}, &n->there);
	if (r == 0)
		r = inode_of((struct at){n->fd, n->staged}, &n->in_staged);
	n->in_waiting = 0;
	if (r == 0 && op->kind == OP_PUT && op->old_ino != 0 && n->there != op->old_ino)
		r = inode_of((struct at){n->fd, n->waiting}, &n->in_waiting);
	return r;
}

static int swap_put(struct place *p, const struct op *op)
{
	struct names n;
	int r = look(p, op, &n);

	if (r != 0 || n.there == op->new_ino)
		return r;
	if (n.in_staged != op->new_ino || (n.there != 0 && n.there != op->old_ino))
		return -ESTALE; /* somebody else was here */
	if (n.there != 0) {
		r = move(n.fd, n.staged, n.name, RENAME_EXCHANGE);
		if (r != -EINVAL && r != -ENOSYS)
			return r;
		/* The file system cannot: one after the other. */
		r = move(n.fd, n.name, n.waiting, RENAME_NOREPLACE);
		if (r != 0)
			return r;
	} else if (op->old_ino != 0 && n.in_waiting != op->old_ino) {
		return -ESTALE;
	}
	return move(n.fd, n.staged, n.name, RENAME_NOREPLACE);
}

static int swap_delete(struct place *p, const struct op *op)
{
	struct names n;
	int r = look(p, op, &n);

	if (r != 0 || (n.there == 0 && n.in_staged == op->old_ino))
		return r;
	if (n.there != op->old_ino)
		return -ESTALE;
	return move(n.fd, n.name, n.staged, RENAME_NOREPLACE);
}

int place_swap(struct place *p)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < p->j->nop; i++) {
		const struct op *op = &p->j->op[i];

		if (op->kind == OP_PUT)
			r = swap_put(p, op);
		else if (op->kind == OP_DELETE)
			r = swap_delete(p, op);
		r = place_failed(p, op->path, r);
	}
	return r == 0 ? place_sync(p) : r;
}

/* Going back. */

/* The copy in the upper was made from a file whose ctime has changed just now. */
static void refresh_origin(struct place *p, const struct op *op, struct at lower)
{
	struct entry e;
	struct stat st;

	if (at_stat(lower, &st, 0) != 0 || layers_lookup(&p->t->o, op->path, &e) != 0)
		return;
	if (e.upper && (e.st.st_mode & S_IFMT) == (st.st_mode & S_IFMT))
		inodes_refresh_origin(e.at, e.st.st_mode, &st);
	entry_done(&p->t->o, &e);
}

static int back_put(struct place *p, const struct op *op, struct names *n)
{
	bool moved = false;
	int r = 0;

	if (n->there == op->new_ino && op->new_ino != 0) {
		moved = true;
		if (op->old_ino != 0 && n->in_staged == op->old_ino)
			r = move(n->fd, n->staged, n->name, RENAME_EXCHANGE);
		else
			r = move(n->fd, n->name, n->staged, RENAME_NOREPLACE);
		n->there = 0;
	}
	if (r == 0 && n->there == 0 && op->old_ino != 0 && n->in_waiting == op->old_ino) {
		moved = true;
		r = move(n->fd, n->waiting, n->name, RENAME_NOREPLACE);
	}
	if (r == 0 && moved && op->old_ino != 0)
		refresh_origin(p, op, (struct at){n->fd, n->name});
	return r;
}

static int back(struct place *p, const struct op *op)
{
	struct names n;
	const char *name;
	ino_t left;
	int fd, r = 0;

	if (op->kind == OP_META)
		return 0;
	if (op->kind == OP_MKDIR) {
		fd = place_parent(p, op->path, &name);
		if (fd >= 0 && unlinkat(fd, name, AT_REMOVEDIR) == -1 && errno != ENOENT)
			r = -errno;
		forget_dir(p); /* it may be the one that is gone */
		return fd < 0 && fd != -ENOENT ? fd : r;
	}
	r = look(p, op, &n);
	if (r == -ENOENT)
		return 0; /* its directory was to be made */
	if (r == 0 && op->kind == OP_PUT)
		r = back_put(p, op, &n);
	else if (r == 0 && n.there == 0 && op->old_ino != 0 && n.in_staged == op->old_ino)
		r = move(n.fd, n.staged, n.name, RENAME_NOREPLACE);
	if (r == 0)
		r = inode_of((struct at){n.fd, n.staged}, &left);
	if (r != 0 || left == 0)
		return r;
	/* Never the old one, whatever went wrong. */
	return left == op->old_ino ? -EIO : at_remove_tree((struct at){n.fd, n.staged});
}

int place_undo(struct place *p)
{
	int r = 0;

	for (size_t i = p->j->nop; r == 0 && i > 0; i--)
		r = place_failed(p, p->j->op[i - 1].path, back(p, &p->j->op[i - 1]));
	for (size_t i = p->j->ndir; r == 0 && i > 0; i--)
		r = restore_dir(p, &p->j->dir[i - 1], false);
	if (r == 0)
		r = place_sync(p);
	return r == 0 ? journal_remove(p->t->o.workfd) : r;
}

/* Going on. */

static int set_meta(struct place *p, const char *path)
{
	int from = upper_dir(p, path), to = place_dir(p, path);
	struct stat st, now;
	int r;

	if (from == -ENOENT || from == -ENOTDIR)
		return 0;
	r = from < 0 ? from : to < 0 ? to : at_stat((struct at){from, ""}, &st, 0);
	if (r == 0)
		r = at_stat((struct at){to, ""}, &now, 0);
	if (r == 0 && geteuid() != 0 && now.st_uid != geteuid()) {
		/* Not ours: its owner stays, and only its times could not be kept. */
		r = 0;
	} else if (r == 0) {
		if (changes_lost_owner(&p->t->o, &st, &now)) {
			st.st_uid = now.st_uid;
			st.st_gid = now.st_gid;
		}
		r = copy_meta_exactly((struct at){from, ""}, (struct at){to, ""}, &st);
	}
	if (from >= 0)
		close(from);
	return r;
}

/*
 * The lower has all that the merged directory shows: let the upper's be merged with
 * it, whatever kept it apart or bound it to another place.
 */
static int merge(const struct place *p, const char *path)
{
	const char *name = strrchr(path, '/') + 1;
	char *dir = strndup(path, (size_t)(name - 1 - path));
	struct part part = {.fd = dir == NULL ? -ENOMEM : upper_dir(p, dir),
			    .flags = PART_WHITEOUTS};
	struct stat st;
	int r = part.fd < 0 ? part.fd : at_stat((struct at){part.fd, name}, &st, 0);

	if (r == 0 && S_ISDIR(st.st_mode)) {
		r = whiteout_remove(&part, name);
		if (r == 0)
			r = whiteout_clear_marks((struct at){part.fd, name});
	}
	if (part.fd >= 0)
		close(part.fd);
	free(dir);
	return r == -ENOENT || r == -ENOTDIR ? 0 : r;
}

static int merge_all(struct place *p)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < p->j->nmerge; i++)
		r = place_failed(p, p->j->merge[i], merge(p, p->j->merge[i]));
	return r;
}

static int remove_old(struct place *p, const struct op *op)
{
	char name[48];
	const char *last;
	int fd, r;

	if (op->old_ino == 0)
		return 0; /* there was none */
	fd = place_parent(p, op->path, &last);
	if (fd < 0)
		return fd;
	place_staged(p->j, op, false, name);
	r = at_remove_tree((struct at){fd, name});
	if (r == 0 && op->kind == OP_PUT) {
		place_staged(p->j, op, true, name);
		r = at_remove_tree((struct at){fd, name});
	}
	return r;
}

/* Freeing the blocks of a file may wait for the device, so several do it. */
enum { REMOVERS = 8, REMOVERS_FROM = 256 };

struct remover {
	pthread_t thread;
	struct place p; /* with a last directory of its own */
	size_t from, to;
	int r;
	bool started;
};

static void *remove_range(void *arg)
{
	struct remover *x = arg;
	const struct journal *j = x->p.j;

	for (size_t i = x->from; x->r == 0 && i < x->to; i++)
		if (j->op[i].kind == OP_PUT || j->op[i].kind == OP_DELETE)
			x->r = place_failed(&x->p, j->op[i].path, remove_old(&x->p, &j->op[i]));
	return NULL;
}

static int remove_all_old(struct place *p)
{
	struct remover x[REMOVERS] = {0};
	size_t n = p->j->nop < REMOVERS_FROM ? 1 : REMOVERS;
	int r = 0;

	for (size_t i = 0; i < n; i++) {
		x[i].p = (struct place){.t = p->t, .root = p->root, .j = p->j, .fd = -1};
		x[i].from = p->j->nop * i / n;
		x[i].to = p->j->nop * (i + 1) / n;
		x[i].started =
			i + 1 < n && pthread_create(&x[i].thread, NULL, remove_range, &x[i]) == 0;
		if (!x[i].started)
			remove_range(&x[i]);
	}
	for (size_t i = 0; i < n; i++) {
		if (x[i].started)
			pthread_join(x[i].thread, NULL);
		if (x[i].r != 0 && r == 0)
			r = place_failed(p, x[i].p.failed == NULL ? "" : x[i].p.failed, x[i].r);
		place_close(&x[i].p);
	}
	return r;
}

int place_finish(struct place *p)
{
	int r = merge_all(p);

	if (r == 0)
		r = remove_all_old(p);
	for (size_t i = 0; r == 0 && i < p->j->ndir; i++)
		r = restore_dir(p, &p->j->dir[i], true);
	for (size_t i = p->j->nop; r == 0 && i > 0; i--) {
		const struct op *op = &p->j->op[i - 1];

		if (op->kind == OP_META || op->kind == OP_MKDIR)
			r = place_failed(p, op->path, set_meta(p, op->path));
	}
	if (r == 0)
		r = place_sync(p);
	return r == 0 ? place_end(p) : r;
}

int place_end(struct place *p)
{
	int workfd = p->t->o.workfd, r = 0;

	if (p->shared) {
		p->j->state = JOURNAL_SHARED;
		r = journal_write(workfd, p->j);
		if (r == 0)
			r = share_end(p);
		if (r == 0 && syncfs(workfd) == -1)
			r = -errno;
	}
	return r == 0 ? journal_remove(workfd) : r;
}

/* After a crash. */

static int resume(struct place *p)
{
	int r;

	if (p->j->state == JOURNAL_PREPARE) {
		r = place_undo(p);
		return r == 0 ? PLACE_UNDONE : r;
	}
	if (p->j->state == JOURNAL_SWAP) {
		r = place_swap(p);
		if (r != 0) {
			free(p->failed);
			p->failed = NULL;
			r = place_undo(p);
			return r == 0 ? PLACE_UNDONE : r;
		}
		p->j->state = JOURNAL_DONE;
		r = journal_write(p->t->o.workfd, p->j);
		if (r != 0)
			return r;
	}
	p->shared = true; /* it may be */
	r = p->j->state == JOURNAL_SHARED ? place_end(p) : place_finish(p);
	return r == 0 ? PLACE_FINISHED : r;
}

int place_recover(const struct target *t, char **failed_path)
{
	struct journal j;
	struct place p;
	unsigned layer = 0;
	int r = journal_read(t->o.workfd, &j);

	*failed_path = NULL;
	if (r == -ENOENT)
		return 0;
	for (unsigned i = 1; r == 0 && i < t->o.nlayers; i++)
		if (t->o.layer[i].dev == j.dev && t->o.layer[i].ino == j.ino)
			layer = i;
	if (r == 0 && layer == 0) {
		*failed_path = strdup(j.lower);
		r = -ESTALE;
	} else if (r == 0) {
		place_open(&p, t, layer, &j);
		r = resume(&p);
		*failed_path = p.failed;
		p.failed = NULL;
		place_close(&p);
		layers_drop_tree(&t->o, "");
		layers_drop_tree(&t->low, "");
	}
	journal_destroy(&j);
	return r;
}
