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

#define USER_REDIRECT "user.overlay.redirect"
#define OTHER_OPAQUE "user.fuseoverlayfs.opaque"
#define TRUSTED_REDIRECT "trusted.overlay.redirect"

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

struct seeing {
	struct marks *m;
	struct name_set *names;
};

static int see_name(void *arg, const char *name, unsigned char type, ino_t ino)
{
	struct seeing *s = arg;
	bool reserved = layers_reserved(name);

	(void)type;
	(void)ino;
	if (s->names != NULL)
		name_set_add(s->names, reserved ? name + strlen(WHITEOUT_PREFIX) : name);
	if (!reserved)
		return 0;
	if (strcmp(name, WHITEOUT_OPAQUE) == 0)
		s->m->opaque = true;
	else if (strncmp(name, ".wh..wh.", 8) != 0)
		s->m->flags |= PART_WHITEOUTS;
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
	    strcmp(attr, "user.overlay.opaque") == 0 || strcmp(attr, OTHER_OPAQUE) == 0)
		return see_opaque(dir, attr, m);
	if (strcmp(attr, TRUSTED_REDIRECT) == 0 || strcmp(attr, USER_REDIRECT) == 0)
		return see_redirect(dir, attr, m);
	if (strcmp(attr, "trusted.overlay.impure") == 0 || strcmp(attr, "user.overlay.impure") == 0)
		m->flags |= PART_NUMBERED | PART_IMPURE;
	else if (strcmp(attr, XATTR_NUMBERED) == 0)
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

int whiteout_read_marks(int fd, bool middle, struct name_set *names, struct marks *m)
{
	struct stat st;
	int r;

	*m = (struct marks){0};
	r = see_attrs((struct at){fd, ""}, m);
	if (r == 0 && middle) {
		struct seeing s = {m, names};

		r = at_list(fd, see_name, &s);
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

/* The end of a change that may have made the first mark of a directory. */
static int settled(const struct ovl *o, struct dir *d, int r)
{
	layers_settle(o, d);
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
	return settled(o, d, r < 0 && r != -EEXIST ? r : 0);
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
		return settled(o, d, r);
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
		return settled(o, d, isdir ? exchange_dir(o, p, name) : place_named(o, p, name));
	if (r < 0)
		return r;
	had = r == 1;
	if (isdir)
		r = work_take(o, (struct at){p->fd, name}, work_stage(o, buf), 0);
	else
		r = unlinkat(p->fd, name, 0) == -1 ? -errno : 0;
	if (r != 0 && !had)
		remove_beside(p, name);
	return settled(o, d, r);
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

struct emptied {
	const struct ovl *o;
	int fd;
};

static int remove_marker(void *arg, const char *name, unsigned char type, ino_t ino)
{
	const struct emptied *x = arg;
	char buf[32];

	(void)type;
	(void)ino;
	if (unlinkat(x->fd, name, 0) == 0)
		return 0;
	if (errno != EISDIR || strncmp(name, WHITEOUT_PREFIX, strlen(WHITEOUT_PREFIX)) != 0)
		return -errno;
	/* what other programs keep in layers is a directory now and then */
	return work_take(x->o, (struct at){x->fd, name}, work_stage(x->o, buf), 0);
}

int whiteout_empty(const struct ovl *o, struct at dir)
{
	struct marks m = {0};
	struct emptied x = {.o = o};
	mode_t mode;
	int r = see_opaque(dir, "user.overlay.opaque", &m);

	if (r == 0 && (m.flags & PART_XWHITEOUTS)) /* they hold as long as that attribute is x */
		r = at_setxattr_force(dir, OTHER_OPAQUE, "y", 1);
	else if (r == 0)
		r = whiteout_set_opaque(o, dir, true);
	if (r != 0)
		return r;
	x.fd = at_open(dir, O_RDONLY | O_DIRECTORY, 0);
	if (x.fd < 0)
		return x.fd;
	r = at_unlock((struct at){x.fd, ""}, &mode);
	if (r == 0)
		r = at_restore((struct at){x.fd, ""}, mode, at_list(x.fd, remove_marker, &x));
	close(x.fd);
	return r;
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
		return settled(o, d, r);
	if (o->format != WHITEOUT_WH && place_named(o, p, name) == 0)
		remove_beside(p, name);
	return settled(o, d, 0);
}

static int make_opaque_file(int fd)
{
	return mknodat(fd, WHITEOUT_OPAQUE, S_IFREG | 0644, 0) == -1 && errno != EEXIST ? -errno
											: 0;
}

/* A whiteout by attribute becomes a `.wh.` file, which stays one when the directory's does not. */
static int cover(void *arg, const char *name, unsigned char type, ino_t ino)
{
	struct part *p = arg;
	struct stat st;
	int r = at_stat((struct at){p->fd, name}, &st, 0);

	(void)type;
	(void)ino;
	if (r != 0 || !S_ISREG(st.st_mode) || !whiteout_is(p, name, &st))
		return r;
	r = make_beside(p, name);
	if (r < 0 && !no_room(r))
		return r;
	return unlinkat(p->fd, name, 0) == -1 ? -errno : 0;
}

static int strip_one(void *arg, const char *name, unsigned char type, ino_t ino)
{
	const struct part *p = arg;
	struct at a = {p->fd, name};
	struct stat st;
	int r = at_stat(a, &st, 0);

	(void)type;
	(void)ino;
	if (r != 0 || strcmp(name, WHITEOUT_OPAQUE) == 0 || strcmp(name, WHITEOUT_WORK) == 0)
		return r;
	if (S_ISDIR(st.st_mode))
		return whiteout_strip(a);
	if (strncmp(name, WHITEOUT_PREFIX, strlen(WHITEOUT_PREFIX)) != 0 &&
	    !whiteout_is(p, name, &st))
		return 0;
	return unlinkat(p->fd, name, 0) == -1 ? -errno : 0;
}

/* Call each for all names of a directory, as a part that knows its own mark. */
static int each_name(int fd, int (*each)(void *, const char *, unsigned char, ino_t))
{
	struct part p = {.fd = at_open((struct at){fd, "."}, O_RDONLY | O_DIRECTORY, 0)};
	struct marks m;
	int r = p.fd < 0 ? p.fd : whiteout_read_marks(p.fd, false, NULL, &m);

	if (r == 0) {
		p.flags = m.flags;
		free(m.redirect);
		r = at_list(p.fd, each, &p);
	}
	if (p.fd >= 0)
		close(p.fd);
	return r;
}

static int cover_all(int fd)
{
	return each_name(fd, cover);
}

/* A redirect goes first: what it leads to is hidden by the whiteouts only. */
static int strip_all(int fd)
{
	int r = whiteout_clear_redirect((struct at){fd, ""});

	return r == 0 ? each_name(fd, strip_one) : r;
}

/* The user has not changed the directory: its times stay. */
static int change_inside(struct at dir, int (*change)(int fd))
{
	int r, fd = at_open(dir, O_PATH | O_DIRECTORY, 0);
	struct at self = {fd, ""};
	struct stat st;
	mode_t mode;

	if (fd < 0)
		return fd;
	r = at_stat(self, &st, 0);
	if (r == 0)
		r = at_unlock(self, &mode);
	if (r == 0) {
		r = at_restore(self, mode, change(fd));
		if (r == 0)
			r = at_utimens(self, (struct timespec[]){st.st_atim, st.st_mtim});
	}
	close(fd);
	return r;
}

/* Whether marks have to be what kernel overlayfs takes from root. */
static bool wants_trusted(const struct ovl *o)
{
	return o->format == WHITEOUT_CHARDEV && o->privileged;
}

int whiteout_set_opaque(const struct ovl *o, struct at dir, bool bare)
{
	const char *attr = wants_trusted(o) ? "trusted.overlay.opaque" : "user.overlay.opaque";
	struct marks m = {0};
	int r = see_opaque(dir, attr, &m);

	if (r == 0 && (m.flags & PART_XWHITEOUTS))
		r = change_inside(dir, cover_all);
	if (r == 0)
		r = at_setxattr_force(dir, attr, "y", 1);
	if (r == -EPERM && o->format == WHITEOUT_CHARDEV)
		r = at_setxattr_force(dir, "user.overlay.opaque", "y", 1);
	if (bare || (o->format != WHITEOUT_WH && r == 0))
		return r;
	return change_inside(dir, make_opaque_file);
}

int whiteout_strip(struct at dir)
{
	return change_inside(dir, strip_all);
}

int whiteout_set_redirect(const struct ovl *o, struct at dir, const char *path)
{
	const char *attr = wants_trusted(o) ? TRUSTED_REDIRECT : USER_REDIRECT;
	int r = at_setxattr_force(dir, attr, path, strlen(path));

	if (r == -EPERM && wants_trusted(o)) { /* root of a user namespace only */
		attr = USER_REDIRECT;
		r = at_setxattr_force(dir, attr, path, strlen(path));
	}
	if (r != 0)
		return r;
	/* One of the other name, that another program wrote, would be true here only. */
	attr = strcmp(attr, USER_REDIRECT) == 0 ? TRUSTED_REDIRECT : USER_REDIRECT;
	r = at_removexattr(dir, attr);
	return r == -ENODATA || r == -EPERM || r == -EOPNOTSUPP ? 0 : r;
}

static int remove_attribute(struct at dir, const char *attr)
{
	mode_t mode;
	int r = at_removexattr(dir, attr);

	if (r == -EACCES && at_unlock(dir, &mode) == 0)
		r = at_restore(dir, mode, at_removexattr(dir, attr));
	return r;
}

int whiteout_clear_redirect(struct at dir)
{
	static const char *const attrs[] = {USER_REDIRECT, TRUSTED_REDIRECT};
	int r = 0;

	for (size_t i = 0; r == 0 && i < sizeof(attrs) / sizeof(attrs[0]); i++)
		if (at_getxattr(dir, attrs[i], NULL, 0) >= 0)
			r = remove_attribute(dir, attrs[i]);
	return r;
}

static int remove_opaque_file(int fd)
{
	return unlinkat(fd, WHITEOUT_OPAQUE, 0) == -1 && errno != ENOENT ? -errno : 0;
}

/* The attributes that make a directory opaque; one bit each, then the file. */
static const char *const opaque_attrs[] = {"user.overlay.opaque", "trusted.overlay.opaque",
					   OTHER_OPAQUE};
enum { OPAQUE_USER = 1 << 0, OPAQUE_TRUSTED = 1 << 1, OPAQUE_FILE = 1 << 3 };

int whiteout_clear_marks(struct at dir)
{
	char value[2];
	int r = change_inside(dir, remove_opaque_file);

	for (unsigned i = 0; r == 0 && i < 3; i++) /* "x" says another thing */
		if (at_getxattr(dir, opaque_attrs[i], value, sizeof(value)) == 1 && value[0] == 'y')
			r = remove_attribute(dir, opaque_attrs[i]);
	return r == 0 ? whiteout_clear_redirect(dir) : r;
}

int whiteout_stat(const struct part *p, const char *name, struct stat *st)
{
	char wh[256];
	int r = at_stat((struct at){p->fd, name}, st, 0);

	if (r == 0 && whiteout_is(p, name, st))
		return 0;
	if (r != 0 && r != -ENOENT)
		return r;
	r = whiteout_name(name, wh);
	return r != 0 ? -ENOENT : at_stat((struct at){p->fd, wh}, st, 0);
}

int whiteout_remove(const struct part *p, const char *name)
{
	char wh[256];
	struct stat st;
	int r = at_stat((struct at){p->fd, name}, &st, 0);

	if (r == 0 && whiteout_is(p, name, &st) && unlinkat(p->fd, name, 0) == -1)
		return -errno;
	if (whiteout_name(name, wh) == 0 && unlinkat(p->fd, wh, 0) == -1 && errno != ENOENT)
		return -errno;
	return 0;
}

/* Other forms. */

enum { FORM_BESIDE = 1 << 0, FORM_DEVICE = 1 << 1, FORM_XATTR = 1 << 2 };

static int forms_of(const struct part *p, const char *name, unsigned *forms)
{
	char wh[256];
	struct stat st;
	int r = at_stat((struct at){p->fd, name}, &st, 0);

	*forms = 0;
	if (r == 0 && whiteout_is(p, name, &st))
		*forms |= S_ISCHR(st.st_mode) ? FORM_DEVICE : FORM_XATTR;
	if ((r != 0 && r != -ENOENT) || whiteout_name(name, wh) != 0)
		return r == -ENOENT ? 0 : r;
	r = at_stat((struct at){p->fd, wh}, &st, 0);
	if (r == 0)
		*forms |= FORM_BESIDE;
	return r == -ENOENT ? 0 : r;
}

static unsigned wanted_forms(const struct ovl *o, const char *name)
{
	if (o->format != WHITEOUT_WH)
		return o->format == WHITEOUT_XATTR ? FORM_XATTR : FORM_DEVICE;
	return strlen(name) + sizeof(WHITEOUT_PREFIX) - 1 > NAME_MAX ? FORM_DEVICE | FORM_XATTR
								     : FORM_BESIDE;
}

int whiteout_other_form(const struct ovl *o, const struct part *p, const char *name)
{
	unsigned forms;
	int r = forms_of(p, name, &forms);

	return r != 0 ? r : (forms & ~wanted_forms(o, name)) != 0;
}

int whiteout_convert(const struct ovl *o, struct dir *d, const char *name)
{
	struct part *p = dir_upper(o, d);
	unsigned forms, wanted = wanted_forms(o, name);
	char wh[256];
	int r = forms_of(p, name, &forms);

	if (r != 0 || (forms & ~wanted) == 0)
		return r;
	if ((forms & wanted) == 0) /* over the other one, if that has the same name */
		r = wanted == FORM_BESIDE ? make_beside(p, name) : place_named(o, p, name);
	if (r < 0)
		return r;
	if (wanted == FORM_BESIDE)
		return unlinkat(p->fd, name, 0) == -1 ? -errno : 0;
	if ((forms & FORM_BESIDE) && whiteout_name(name, wh) == 0 && unlinkat(p->fd, wh, 0) == -1)
		return -errno;
	return 0;
}

static int opaque_forms(struct at dir, unsigned *forms)
{
	struct stat st;
	int r = 0, fd = at_open(dir, O_PATH | O_DIRECTORY, 0);

	*forms = 0;
	if (fd < 0)
		return fd;
	for (unsigned i = 0; r == 0 && i < 3; i++) {
		struct marks m = {0};

		r = see_opaque(dir, opaque_attrs[i], &m);
		if (r == -EOPNOTSUPP)
			r = 0;
		if (m.opaque)
			*forms |= 1u << i;
	}
	if (r == 0 && at_stat((struct at){fd, WHITEOUT_OPAQUE}, &st, 0) == 0)
		*forms |= OPAQUE_FILE;
	close(fd);
	return r;
}

static unsigned wanted_opaque(const struct ovl *o)
{
	if (o->format == WHITEOUT_WH)
		return OPAQUE_USER | OPAQUE_FILE;
	return wants_trusted(o) ? OPAQUE_TRUSTED : OPAQUE_USER;
}

/* With whiteout=wh the attribute alone is enough where nothing is below. */
static bool other_opaque(const struct ovl *o, unsigned forms, bool below)
{
	if (forms == 0)
		return false;
	return (forms & ~wanted_opaque(o)) != 0 ||
	       (o->format == WHITEOUT_WH && below && !(forms & OPAQUE_FILE));
}

static bool other_redirect(const struct ovl *o, struct at dir)
{
	return at_getxattr(dir, wants_trusted(o) ? USER_REDIRECT : TRUSTED_REDIRECT, NULL, 0) >= 0;
}

int whiteout_other_marks(const struct ovl *o, struct at dir, bool below)
{
	unsigned forms;
	int r = opaque_forms(dir, &forms);

	return r != 0 ? r : other_opaque(o, forms, below) || other_redirect(o, dir);
}

/* First what is wanted, then away with the rest. */
static int convert_opaque(const struct ovl *o, struct at dir)
{
	unsigned forms = 0, wanted = wanted_opaque(o);
	int r = whiteout_set_opaque(o, dir, false);

	if (r == 0)
		r = opaque_forms(dir, &forms);
	if (r == 0 && (forms & wanted) == 0) /* root of a user namespace only */
		wanted = OPAQUE_USER;
	for (unsigned i = 0; r == 0 && i < 3; i++)
		if (forms & ~wanted & 1u << i)
			r = remove_attribute(dir, opaque_attrs[i]);
	if (r == 0 && (forms & ~wanted & OPAQUE_FILE))
		r = change_inside(dir, remove_opaque_file);
	return r;
}

int whiteout_convert_marks(const struct ovl *o, struct at dir, bool below)
{
	struct marks m = {0};
	unsigned forms;
	int r = opaque_forms(dir, &forms);

	if (r == 0 && other_opaque(o, forms, below))
		r = convert_opaque(o, dir);
	if (r == 0 && other_redirect(o, dir)) {
		r = see_attrs(dir, &m);
		if (r == 0 && m.redirect != NULL)
			r = whiteout_set_redirect(o, dir, m.redirect);
		free(m.redirect);
	}
	return r;
}

int whiteout_clear_attribute_mark(struct part *p)
{
	struct at dir = {p->fd, ""};
	int r = 0;

	for (unsigned i = 0; r == 0 && i < 2; i++) {
		struct marks m = {0};

		r = see_opaque(dir, opaque_attrs[i], &m);
		if (r == 0 && (m.flags & PART_XWHITEOUTS))
			r = remove_attribute(dir, opaque_attrs[i]);
	}
	if (r == 0)
		p->flags &= ~(unsigned)PART_XWHITEOUTS;
	return r;
}
