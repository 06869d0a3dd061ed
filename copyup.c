/* SPDX-License-Identifier: ISC */
/*
 * Copy-up. Owner first, as changing it clears what the later steps set; data
 * before attributes; the times last; the rename into place ends it. The data
 * are flushed before the rename, so that a machine that loses power has the
 * lower file or the whole copy.
 */
#include "copyup.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/fs.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "inodes.h"
#include "readdir.h"
#include "whiteout.h"
#include "work.h"
#include "xattr.h"

enum { COPY_CHUNK = 1 << 20, STRIPES = 16 };

/* One copy-up a file at a time; the number chooses the lock. */
#define FREE PTHREAD_MUTEX_INITIALIZER
static pthread_mutex_t stripe[STRIPES] = {
	FREE, FREE, FREE, FREE, FREE, FREE, FREE, FREE,
	FREE, FREE, FREE, FREE, FREE, FREE, FREE, FREE,
};
#undef FREE

/* Data. */

/* read(2) and write(2) where the kernel cannot copy by itself; len < 0: to the end. */
static int copy_bytes(int from, int to, off_t pos, off_t len)
{
	char *buf = malloc(COPY_CHUNK);
	ssize_t n = 1;
	int r = 0;

	if (buf == NULL)
		return -ENOMEM;
	while (r == 0 && n > 0 && len != 0) {
		size_t want = len < 0 || len > COPY_CHUNK ? COPY_CHUNK : (size_t)len;

		n = pread(from, buf, want, pos);
		if (n == -1)
			r = -errno;
		for (ssize_t done = 0, w; r == 0 && done < n; done += w) {
			w = pwrite(to, buf + done, (size_t)(n - done), pos + done);
			if (w == -1) {
				r = -errno;
				break;
			}
		}
		if (n > 0) {
			pos += n;
			len -= len < 0 ? 0 : n;
		}
	}
	free(buf);
	return r;
}

static int copy_range(int from, int to, off_t pos, off_t len)
{
	while (len > 0) {
		off_t in = pos, out = pos;
		ssize_t n = copy_file_range(from, &in, to, &out, (size_t)len, 0);

		if (n == -1 && (errno == EXDEV || errno == EINVAL || errno == EOPNOTSUPP ||
				errno == ENOSYS || errno == EPERM))
			return copy_bytes(from, to, pos, len);
		if (n == -1)
			return -errno;
		if (n == 0)
			return 0;
		pos += n;
		len -= n;
	}
	return 0;
}

/* The data without its holes. size 0: a file of proc(5) may still have some. */
static int copy_data(int from, int to, off_t size)
{
	off_t data = 0, hole;
	int r = 0;

	if (size == 0)
		return copy_bytes(from, to, 0, -1);
	if (ioctl(to, FICLONE, from) == 0)
		return 0;
	while (r == 0 && data < size) {
		data = lseek(from, data, SEEK_DATA);
		if (data == -1 && errno == ENXIO)
			break;
		hole = data == -1 ? -1 : lseek(from, data, SEEK_HOLE);
		if (hole == -1) { /* the file system does not tell */
			data = data == -1 ? 0 : data;
			hole = size;
		}
		r = copy_range(from, to, data, hole - data);
		data = hole;
	}
	if (r == 0 && ftruncate(to, size) == -1)
		r = -errno;
	return r;
}

/* Metadata. */

/* Failing to keep these is not the user's business: no privilege, no support. */
static bool may_lose(const char *attr, int r)
{
	if (r == -EPERM)
		return strncmp(attr, "user.", 5) != 0;
	return r == -EOPNOTSUPP && strncmp(attr, "system.", 7) != 0;
}

static int copy_xattr(struct at from, struct at to, const char *attr)
{
	char small[512], *value = small;
	ssize_t n = at_getxattr(from, attr, small, sizeof(small));
	int r;

	if (n == -ERANGE) {
		value = malloc(XATTR_SIZE_MAX);
		n = value == NULL ? -ENOMEM : at_getxattr(from, attr, value, XATTR_SIZE_MAX);
	}
	r = n < 0 ? (int)n : at_setxattr(to, attr, value, (size_t)n, 0);
	if (value != small)
		free(value);
	return r == -ENODATA || may_lose(attr, r) ? 0 : r;
}

static int copy_xattrs(struct at from, struct at to)
{
	char *list = malloc(XATTR_LIST_MAX);
	ssize_t n = list == NULL ? -ENOMEM : at_listxattr(from, list, XATTR_LIST_MAX);
	int r = n < 0 && n != -EOPNOTSUPP ? (int)n : 0;

	for (char *p = list; r == 0 && n > 0 && p < list + n; p += strlen(p) + 1)
		if (!xattr_private(p))
			r = copy_xattr(from, to, p);
	free(list);
	return r;
}

/*
 * The owner as far as the caller may: without privilege the copy belongs to
 * the mounting user. Then it must not keep the set-id bits of another.
 */
static int copy_owner(struct at to, struct stat *st)
{
	struct stat now;
	int r = at_chown(to, st->st_uid, st->st_gid);

	if (r != -EPERM && r != -EINVAL) /* EINVAL: unknown in this user namespace */
		return r;
	at_chown(to, (uid_t)-1, st->st_gid);
	r = at_stat(to, &now, 0);
	if (r == 0 && now.st_uid != st->st_uid)
		st->st_mode &= ~(mode_t)S_ISUID;
	if (r == 0 && now.st_gid != st->st_gid && !S_ISDIR(st->st_mode))
		st->st_mode &= ~(mode_t)S_ISGID;
	return r;
}

/* Everything but the data. st is the source's; its mode may lose bits. */
static int copy_meta(struct at from, struct at to, struct stat *st)
{
	struct timespec times[2] = {st->st_atim, st->st_mtim};
	int r = copy_owner(to, st);

	if (r == 0)
		r = copy_xattrs(from, to);
	if (r == 0 && !S_ISLNK(st->st_mode))
		r = at_chmod(to, st->st_mode & 07777);
	if (r == 0)
		r = at_utimens(to, times);
	return r;
}

static int stage_regular(const struct ovl *o, struct at from, struct at to, const struct stat *st,
			 bool truncate)
{
	int in = -1, out, r = 0;

	out = at_open(to, O_RDWR | O_CREAT | O_EXCL, 0600);
	if (out < 0)
		return out;
	if (!truncate) {
		in = at_open_quiet(from, O_RDONLY);
		r = in < 0 ? in : copy_data(in, out, st->st_size);
		if (r == 0 && st->st_size > 0 && !o->is_volatile && fdatasync(out) == -1)
			r = -errno;
	}
	if (in >= 0)
		close(in);
	if (close(out) == -1 && r == 0)
		r = -errno;
	return r;
}

static int stage_link(struct at from, struct at to)
{
	char target[PATH_MAX];
	int r = at_readlink(from, target, sizeof(target));

	if (r == 0 && symlinkat(target, to.fd, to.name) == -1)
		r = -errno;
	return r;
}

/* Build a copy of a file (no directory) that carries the number ino. */
static int stage_file(const struct ovl *o, struct at from, struct at to, struct stat *st,
		      uint64_t ino, bool truncate)
{
	struct stat origin = *st;
	int r;

	if (S_ISREG(st->st_mode))
		r = stage_regular(o, from, to, st, truncate);
	else if (S_ISLNK(st->st_mode))
		r = stage_link(from, to);
	else
		r = mknodat(to.fd, to.name, (st->st_mode & S_IFMT) | 0600, st->st_rdev) == -1
			    ? -errno
			    : 0;
	if (r == 0)
		r = inodes_store(o, to, ino, &origin);
	if (r == 0)
		r = copy_meta(from, to, st);
	if (r != 0)
		work_discard(o, to);
	return r;
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
		r = make_upper_dir(o, parent, d);
	dir_put(o, parent);
	if (r != 0)
		return r;
	layers_drop(o, d->path);
	r = layers_dir(o, d->path, &now);
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

	inodes_mark(o, upper);
	if (e->indexed)
		r = at_link(e->at, staged);
	else
		r = stage_file(o, e->at, staged, &e->st, e->ino, truncate);
	if (r == 0 && several)
		r = inodes_index_add(o, e->ino, staged, &origin);
	if (r == 0) {
		r = work_place(staged, to);
		if (r != 0)
			work_discard(o, staged);
	}
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

static int copyup_subdir(const struct ovl *o, struct dir *parent, const char *name)
{
	size_t len = strlen(parent->path) + strlen(name) + 2;
	char *path = malloc(len);
	struct dir *d;
	int r;

	if (path == NULL)
		return -ENOMEM;
	strlcpy(path, parent->path, len);
	strlcat(path, "/", len);
	strlcat(path, name, len);
	r = layers_dir(o, path, &d);
	free(path);
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

int copyup_hidden(const struct ovl *o, struct hidden *h)
{
	struct at from = {h->file.fd, ""}, staged, copy;
	char buf[32];
	int fd, r;

	if (h->upper)
		return 0;
	if (!o->writable)
		return -EROFS;
	if (S_ISDIR(h->st.st_mode))
		return -ENOENT; /* nobody could see the change */
	staged = work_stage(o, buf);
	r = stage_file(o, from, staged, &h->st, h->file.ino, false);
	if (r != 0)
		return r;
	fd = at_open(staged, O_PATH, 0);
	if (fd >= 0) {
		copy = (struct at){fd, ""};
		files_switch(o, h->file.ino, copy);
		close(fd);
	}
	work_discard(o, staged);
	return fd < 0 ? fd : 0;
}

/* Whole trees. */

struct tree {
	const struct ovl *o;
	struct dir *d;
	int to;
};

/* The names of one file stay together, also with those outside the tree. */
static int copy_tree_file(const struct ovl *o, struct entry *e, struct at to)
{
	struct stat origin = e->st;
	bool several = !e->upper && e->st.st_nlink > 1;
	int r;

	if (e->upper)
		r = at_link(e->at, to);
	else
		r = stage_file(o, e->at, to, &e->st, e->ino, false);
	if (r == 0 && several)
		r = inodes_index_add(o, e->ino, to, &origin);
	if (r == 0 && (several || e->indexed))
		r = inodes_index_take(o, e->ino, &origin);
	if (r == 0 && !e->upper)
		files_switch(o, e->ino, to);
	return r;
}

static int copy_tree_entry(void *arg, struct dir *d, unsigned part, const char *name)
{
	struct tree *t = arg;
	struct at to = {t->to, name};
	struct entry e;
	int r = layers_entry(t->o, d, part, name, &e);

	if (r != 0)
		return r;
	if (S_ISDIR(e.st.st_mode)) {
		char path[PATH_MAX];
		struct dir *child;

		if (strlcpy(path, d->path, sizeof(path)) >= sizeof(path) ||
		    strlcat(path, "/", sizeof(path)) >= sizeof(path) ||
		    strlcat(path, name, sizeof(path)) >= sizeof(path))
			r = -ENAMETOOLONG;
		else
			r = layers_dir(t->o, path, &child);
		if (r == 0) {
			r = copyup_tree(t->o, child, to);
			dir_put(t->o, child);
		}
	} else {
		r = copy_tree_file(t->o, &e, to);
	}
	entry_done(t->o, &e);
	return r;
}

int copyup_tree(const struct ovl *o, struct dir *d, struct at staged)
{
	static const char acl[] = "system.posix_acl_default";
	struct tree t = {o, d, -1};
	struct stat st;
	struct timespec times[2];
	int r = dir_stat(o, d, &st);

	if (r == 0)
		r = stage_dir(o, d, staged, &st);
	if (r != 0)
		return r;
	r = inodes_store(o, staged, d->ino, &st);
	t.to = at_open(staged, O_RDONLY | O_DIRECTORY, 0);
	if (t.to < 0)
		return t.to;
	if (r == 0)
		r = at_setxattr_force((struct at){t.to, ""}, XATTR_NUMBERED, "y", 1);
	if (r == -EOPNOTSUPP)
		r = 0;
	at_removexattr((struct at){t.to, ""}, acl); /* what is copied inherits nothing */
	if (r == 0)
		r = readdir_each(o, d, copy_tree_entry, &t);
	if (r == 0 && at_getxattr((struct at){d->part[0].fd, ""}, acl, NULL, 0) >= 0)
		r = copy_xattr((struct at){d->part[0].fd, ""}, (struct at){t.to, ""}, acl);
	times[0] = st.st_atim;
	times[1] = st.st_mtim;
	if (r == 0)
		r = at_utimens((struct at){t.to, ""}, times);
	if (r == 0)
		r = at_chmod((struct at){t.to, ""}, st.st_mode & 07777);
	close(t.to);
	return r;
}
