/* SPDX-License-Identifier: ISC */
/*
 * Markers on disk. Three forms of a whiteout are written, each so that at no
 * moment the lower file shows: the `.wh.` file stands beside the entry, so it
 * comes first and the entry goes second; the two others have the entry's own
 * name, so they are built in the work directory and renamed over it. Where a
 * name has no room for `.wh.` the device takes its place.
 */
#include "whiteout.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "work.h"

#define XATTR_REDIRECT "user.overlay.redirect"

int whiteout_name(const char *name, char buf[256])
{
	size_t len = strlen(name);

	if (len + sizeof(WHITEOUT_PREFIX) - 1 > NAME_MAX)
		return -ENAMETOOLONG;
	memcpy(buf, WHITEOUT_PREFIX, sizeof(WHITEOUT_PREFIX) - 1);
	memcpy(buf + sizeof(WHITEOUT_PREFIX) - 1, name, len + 1);
	return 0;
}

/* Reading. */

bool whiteout_is(const struct part *p, const char *name, const struct stat *st)
{
	struct at a = {p->fd, name};

	if (S_ISCHR(st->st_mode))
		return st->st_rdev == makedev(0, 0);
	if (!(p->flags & PART_XWHITEOUTS) || !S_ISREG(st->st_mode) || st->st_size != 0)
		return false;
	return at_getxattr(a, "user.overlay.whiteout", NULL, 0) >= 0 ||
	       at_getxattr(a, "trusted.overlay.whiteout", NULL, 0) >= 0;
}

int whiteout_beside(const struct part *p, const char *name)
{
	char wh[256];
	struct stat st;
	int r;

	if (!(p->flags & PART_WHITEOUTS) || whiteout_name(name, wh) != 0)
		return 0;
	r = at_stat((struct at){p->fd, wh}, &st, 0);
	return r == 0 ? 1 : r == -ENOENT ? 0 : r;
}

static int see_name(void *arg, const char *name, unsigned char type, ino_t ino)
{
	struct marks *m = arg;

	(void)type;
	(void)ino;
	if (!layers_reserved(name))
		return 0;
	if (strcmp(name, WHITEOUT_OPAQUE) == 0)
		m->opaque = true;
	else if (strncmp(name, ".wh..wh.", 8) != 0)
		m->flags |= PART_WHITEOUTS;
	return 0;
}

static int see_opaque(struct at dir, const char *attr, struct marks *m)
{
	char value[2];
	ssize_t n = at_getxattr(dir, attr, value, sizeof(value));

	if (n == 1 && value[0] == 'y')
		m->opaque = true;
	else if (n == 1 && value[0] == 'x')
		m->flags |= PART_XWHITEOUTS;
	return n < 0 && n != -ENODATA ? (int)n : 0;
}

static int see_redirect(struct at dir, const char *attr, struct marks *m)
{
	char *value = malloc(PATH_MAX);
	ssize_t n = value == NULL ? -ENOMEM : at_getxattr(dir, attr, value, PATH_MAX - 1);

	if (n <= 0 || m->redirect != NULL) {
		free(value);
		return n < 0 && n != -ENODATA ? (int)n : 0;
	}
	value[n] = '\0';
	m->redirect = value;
	return 0;
}

static int see_attr(struct at dir, const char *attr, struct marks *m)
{
	if (strcmp(attr, "trusted.overlay.opaque") == 0 ||
	    strcmp(attr, "user.overlay.opaque") == 0 ||
	    strcmp(attr, "user.fuseoverlayfs.opaque") == 0)
		return see_opaque(dir, attr, m);
	if (strcmp(attr, "trusted.overlay.redirect") == 0 || strcmp(attr, XATTR_REDIRECT) == 0)
		return see_redirect(dir, attr, m);
	if (strcmp(attr, XATTR_NUMBERED) == 0)
		m->flags |= PART_NUMBERED;
	else if (strcmp(attr, XATTR_ORIGIN) == 0)
		m->has_origin = true;
	else if (strcmp(attr, "system.posix_acl_default") == 0)
		m->flags |= PART_DEFAULT_ACL;
	return 0;
}

static int see_attrs(struct at dir, struct marks *m)
{
	char small[1024], *list = small;
	ssize_t n = at_listxattr(dir, small, sizeof(small));
	int r = 0;

	if (n == -ERANGE) {
		list = malloc(XATTR_LIST_MAX);
		n = list == NULL ? -ENOMEM : at_listxattr(dir, list, XATTR_LIST_MAX);
	}
	if (n < 0)
		r = n == -EOPNOTSUPP ? 0 : (int)n;
	for (char *p = list; r == 0 && n > 0 && p < list + n; p += strlen(p) + 1)
		r = see_attr(dir, p, m);
	if (list != small)
		free(list);
	return r;
}

int whiteout_read_marks(int fd, bool middle, struct marks *m)
{
	struct stat st;
	int r;

	*m = (struct marks){0};
	r = see_attrs((struct at){fd, ""}, m);
	if (r == 0 && middle) {
		r = at_list(fd, see_name, m);
		if (r == -EBADF) { /* may be entered but not read: ask name by name */
			m->flags |= PART_WHITEOUTS;
			m->opaque |= at_stat((struct at){fd, WHITEOUT_OPAQUE}, &st, 0) == 0;
			r = 0;
		}
	}
	if (r != 0) {
		free(m->redirect);
		m->redirect = NULL;
	}
	return r;
}

/* Writing. */

/* A whiteout of the form that has the entry's own name; a is in the work directory. */
static int make_named(const struct ovl *o, struct at a, enum whiteout_format format, struct part *p)
{
	int r;

	if (format != WHITEOUT_XATTR) {
		if (mknodat(a.fd, a.name, S_IFCHR, makedev(0, 0)) == 0)
			return 0;
		if (!o->xattrs)
			return -errno;
	}
	if (!(p->flags & PART_XWHITEOUTS)) {
		r = at_setxattr_force((struct at){p->fd, ""}, "user.overlay.opaque", "x", 1);
		if (r != 0)
			return r;
		p->flags |= PART_XWHITEOUTS;
	}
	if (mknodat(a.fd, a.name, S_IFREG | 0644, 0) == -1)
		return -errno;
	r = at_setxattr(a, "user.overlay.whiteout", "y", 1, 0);
	if (r != 0)
		work_discard(o, a);
	return r;
}

/* 1 when it was there before. */
static int make_beside(struct part *p, const char *name)
{
	char wh[256];
	int r = whiteout_name(name, wh);

	if (r != 0)
		return r;
	p->flags |= PART_WHITEOUTS;
	if (mknodat(p->fd, wh, S_IFREG | 0644, 0) == 0)
		return 0;
	return errno == EEXIST ? 1 : -errno;
}

/* `.wh.` names are out of the question: too long, or we are inside an overlay. */
static bool no_room(int r)
{
	return r == -ENAMETOOLONG || r == -EINVAL;
}

static void remove_beside(struct part *p, const char *name)
{
	char wh[256];

	if (whiteout_name(name, wh) == 0)
		unlinkat(p->fd, wh, 0);
}

/* Put a whiteout of the named forms where nothing or a file is, atomically. */
static int place_named(const struct ovl *o, struct part *p, const char *name)
{
	char buf[32];
	struct at staged = work_stage(o, buf);
	int r = make_named(o, staged, o->format, p);

	if (r == 0 && renameat(staged.fd, staged.name, p->fd, name) == -1) {
		r = -errno;
		work_discard(o, staged);
	}
	return r;
}

int whiteout_create(const struct ovl *o, struct dir *d, const char *name)
{
	struct part *p = dir_upper(o, d);
	int r = -ENAMETOOLONG;

	if (o->format == WHITEOUT_WH)
		r = make_beside(p, name);
	else if (o->format == WHITEOUT_CHARDEV)
		r = mknodat(p->fd, name, S_IFCHR, makedev(0, 0)) == -1 ? -errno : 0;
	if (o->format == WHITEOUT_XATTR || r == -ENAMETOOLONG || r == -EPERM)
		r = place_named(o, p, name);
	return r < 0 && r != -EEXIST ? r : 0;
}

int whiteout_set_aside(const struct ovl *o, struct dir *d, const char *name, bool *was)
{
	struct part *p = dir_upper(o, d);
	struct stat st;
	int r;

	*was = false;
	r = at_stat((struct at){p->fd, name}, &st, 0);
	if (r == 0 && whiteout_is(p, name, &st)) {
		*was = true;
		r = make_beside(p, name);
		if (r >= 0 || no_room(r))
			r = unlinkat(p->fd, name, 0) == -1 ? -errno : 0;
		return r;
	}
	if (r != 0 && r != -ENOENT)
		return r;
	r = whiteout_beside(p, name);
	*was = r == 1;
	return r < 0 ? r : 0;
}

int whiteout_clear(const struct ovl *o, struct dir *d, const char *name)
{
	struct part *p = dir_upper(o, d);
	char wh[256];

	if (!(p->flags & PART_WHITEOUTS) || whiteout_name(name, wh) != 0)
		return 0;
	return unlinkat(p->fd, wh, 0) == -1 && errno != ENOENT ? -errno : 0;
}

/* Swap a directory with a whiteout of its own name and remove it. */
static int exchange_dir(const struct ovl *o, struct part *p, const char *name)
{
	char buf[32];
	struct at staged = work_stage(o, buf);
	int r = make_named(o, staged, o->format, p);

	if (r != 0)
		return r;
	r = work_take(o, (struct at){p->fd, name}, staged, RENAME_EXCHANGE);
	if (r != 0)
		work_discard(o, staged);
	return r;
}

int whiteout_replace(const struct ovl *o, struct dir *d, const char *name, bool isdir)
{
	struct part *p = dir_upper(o, d);
	char buf[32];
	bool had;
	int r = -ENAMETOOLONG;

	if (o->format == WHITEOUT_WH)
		r = make_beside(p, name);
	if (r == -ENAMETOOLONG)
		return isdir ? exchange_dir(o, p, name) : place_named(o, p, name);
	if (r < 0)
		return r;
	had = r == 1;
	if (isdir)
		r = work_take(o, (struct at){p->fd, name}, work_stage(o, buf), 0);
	else
		r = unlinkat(p->fd, name, 0) == -1 ? -errno : 0;
	if (r != 0 && !had)
		remove_beside(p, name);
	return r;
}

int whiteout_remove_dir(const struct ovl *o, struct dir *d, const char *name)
{
	struct part *p = dir_upper(o, d);
	char buf[32];

	if (unlinkat(p->fd, name, AT_REMOVEDIR) == 0)
		return 0;
	if (errno != ENOTEMPTY && errno != EEXIST)
		return -errno;
	return work_take(o, (struct at){p->fd, name}, work_stage(o, buf), 0);
}

int whiteout_rename(const struct ovl *o, struct dir *d, const char *name, struct at to,
		    unsigned flags)
{
	struct part *p = dir_upper(o, d);
	int r, had;

	if (flags == 0 && (o->format == WHITEOUT_CHARDEV || strlen(name) + 4 > NAME_MAX)) {
		if (renameat2(p->fd, name, to.fd, to.name, RENAME_WHITEOUT) == 0)
			return 0;
		if (errno != EINVAL && errno != EPERM)
			return -errno;
	}
	had = make_beside(p, name);
	if (had < 0 && !no_room(had))
		return had;
	if (renameat2(p->fd, name, to.fd, to.name, flags) == -1) {
		r = -errno;
		if (had == 0)
			remove_beside(p, name);
		return r;
	}
	if (flags == RENAME_EXCHANGE && (r = whiteout_remove_dir(o, d, name)) != 0)
		return r;
	if (o->format != WHITEOUT_WH && place_named(o, p, name) == 0)
		remove_beside(p, name);
	return 0;
}

/* The user has not changed the directory: its times stay. */
static int make_opaque_file(int fd)
{
	struct at dir = {fd, ""};
	struct stat st;
	mode_t mode;
	int r = at_stat(dir, &st, 0);

	if (r == 0)
		r = at_unlock(dir, &mode);
	if (r != 0)
		return r;
	if (mknodat(fd, WHITEOUT_OPAQUE, S_IFREG | 0644, 0) == -1 && errno != EEXIST)
		r = -errno;
	r = at_restore(dir, mode, r);
	if (r == 0)
		r = at_utimens(dir, (struct timespec[]){st.st_atim, st.st_mtim});
	return r;
}

int whiteout_set_opaque(const struct ovl *o, struct at dir, bool bare)
{
	const char *attr = o->format == WHITEOUT_CHARDEV && o->privileged ? "trusted.overlay.opaque"
									  : "user.overlay.opaque";
	int fd, r = at_setxattr_force(dir, attr, "y", 1);

	if (r == -EPERM && o->format == WHITEOUT_CHARDEV)
		r = at_setxattr_force(dir, "user.overlay.opaque", "y", 1);
	if (bare || (o->format != WHITEOUT_WH && r == 0))
		return r;
	fd = at_open(dir, O_PATH | O_DIRECTORY, 0);
	if (fd < 0)
		return fd;
	r = make_opaque_file(fd);
	close(fd);
	return r;
}

int whiteout_set_redirect(const struct ovl *o, struct at dir, const char *path)
{
	(void)o;
	return at_setxattr_force(dir, XATTR_REDIRECT, path, strlen(path));
}
