/* SPDX-License-Identifier: ISC */
/*
 * Sharing. Which files are shared is not written down: the two names have one
 * inode. The times of the upper's directories were given to the lower's before,
 * and come back from there, so that being interrupted changes none.
 */
#include "share.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "whiteout.h"
#include "xattr.h"

static bool may_remove(const struct part *up)
{
	struct stat st;

	return geteuid() == 0 || (at_stat((struct at){up->fd, ""}, &st, 0) == 0 &&
				  (st.st_mode & (S_IWUSR | S_IXUSR)) == (S_IWUSR | S_IXUSR));
}

bool share_possible(const struct target *t, struct dir *d)
{
	struct part *up = dir_upper(&t->o, d);
	struct dir *low;
	bool through;

	if (up == NULL || strcmp(d->path, d->lower_path) != 0 ||
	    layers_dir(&t->low, d->path, &low) != 0)
		return false;
	through = d->nparts == low->nparts + 1;
	dir_put(&t->low, low);
	return through && may_remove(up);
}

bool share_new(const struct target *t, struct dir *d)
{
	struct part *up = dir_upper(&t->o, d);
	struct marks m = {0};
	bool marked;

	if (up == NULL || !d->pure || whiteout_read_marks(up->fd, true, NULL, &m) != 0)
		return false;
	marked = m.opaque || m.redirect != NULL;
	free(m.redirect);
	return !marked && may_remove(up);
}

/* Call each with the attributes that are not to be in a lower, until it returns no 0. */
static int each_private(struct at a, int (*each)(struct at a, const char *attr))
{
	char small[1024], *list = small;
	ssize_t n = at_listxattr(a, list, sizeof(small));
	int r;

	if (n == 0 || n == -EOPNOTSUPP)
		return 0;
	if (n == -ERANGE) {
		list = malloc(XATTR_LIST_MAX);
		n = list == NULL ? -ENOMEM : at_listxattr(a, list, XATTR_LIST_MAX);
	}
	r = n < 0 ? (int)n : 0;
	for (const char *p = list; r == 0 && n > 0 && p < list + n; p += strlen(p) + 1)
		if (xattr_private(p))
			r = each(a, p);
	if (list != small)
		free(list);
	return r;
}

static int has_one(struct at a, const char *attr)
{
	(void)a;
	(void)attr;
	return 1;
}

bool share_file(const struct entry *e, struct at to)
{
	if (!e->upper || e->st.st_nlink != 1)
		return false;
	/* An ordinary user cannot remove one from a file that he may not write to. */
	if (geteuid() != 0 && !(S_ISREG(e->st.st_mode) && (e->st.st_mode & S_IWUSR)) &&
	    each_private(e->at, has_one) != 0)
		return false;
	return at_link(e->at, to) == 0;
}

/* The end. */

struct ending {
	struct place *p;
	char *path; /* the directory of the upper that was used last */
	int fd;
};

static int end_name(int up, int low, const char *name);

/* The times that the directory had before names went out of it. */
static int end_times(int up, int low)
{
	struct stat st, now;
	int r = at_stat((struct at){low, ""}, &st, 0);

	if (r == 0)
		r = at_stat((struct at){up, ""}, &now, 0);
	if (r == 0 &&
	    (now.st_mtim.tv_sec != st.st_mtim.tv_sec || now.st_mtim.tv_nsec != st.st_mtim.tv_nsec))
		r = at_utimens((struct at){up, ""}, (struct timespec[]){st.st_atim, st.st_mtim});
	return r;
}

struct both {
	int up, low;
};

static int end_child(void *arg, const char *name, unsigned char type, ino_t ino)
{
	const struct both *b = arg;

	(void)type;
	(void)ino;
	return layers_reserved(name) ? 0 : end_name(b->up, b->low, name);
}

static int end_dir(int up, int low, const char *name)
{
	struct both b = {at_open_quiet((struct at){up, name}, O_RDONLY | O_DIRECTORY),
			 at_open((struct at){low, name}, O_PATH | O_DIRECTORY, 0)};
	int r = b.up < 0 ? b.up : b.low < 0 ? b.low : 0;

	if (r == 0)
		r = at_list(b.up, end_child, &b);
	if (r == 0)
		r = end_times(b.up, b.low);
	if (b.up >= 0)
		close(b.up);
	if (b.low >= 0)
		close(b.low);
	return r == -EACCES ? 0 : r; /* nothing in it was shared */
}

static int end_name(int up, int low, const char *name)
{
	const struct part part = {.fd = up, .flags = PART_WHITEOUTS};
	struct at a = {up, name};
	struct stat st, lower;
	int r = at_stat(a, &st, 0);

	if (r == 0)
		r = at_stat((struct at){low, name}, &lower, 0);
	if (r != 0)
		return r == -ENOENT ? 0 : r;
	if (S_ISDIR(st.st_mode) && S_ISDIR(lower.st_mode))
		return end_dir(up, low, name);
	if (st.st_dev != lower.st_dev || st.st_ino != lower.st_ino)
		return 0;
	r = each_private(a, at_removexattr);
	if (r == 0 && whiteout_beside(&part, name) == 1) /* first: the file covers for it */
		r = whiteout_remove(&part, name);
	if (r == 0 && unlinkat(up, name, 0) == -1)
		r = -errno;
	return r;
}

static int open_upper(struct ending *e, const char *dir)
{
	if (e->path != NULL && strcmp(e->path, dir) == 0)
		return 0;
	if (e->fd >= 0)
		close(e->fd);
	free(e->path);
	e->path = strdup(dir);
	e->fd = e->path == NULL ? -ENOMEM : place_open_below(e->p->t->o.layer[0].fd, dir);
	return e->fd < 0 ? e->fd : 0;
}

static int end_op(struct ending *e, const char *path)
{
	const char *name;
	int low = place_parent(e->p, path, &name), r = low < 0 ? low : 0;

	if (r == 0)
		r = open_upper(e, e->p->path);
	if (r == 0)
		r = end_name(e->fd, low, name);
	return r == -ENOENT || r == -ENOTDIR ? 0 : r;
}

int share_end(struct place *p)
{
	struct ending e = {p, NULL, -1};
	int r = 0;

	for (size_t i = 0; r == 0 && i < p->j->nop; i++)
		if (p->j->op[i].kind == OP_PUT)
			r = place_failed(p, p->j->op[i].path, end_op(&e, p->j->op[i].path));
	for (size_t i = 0; r == 0 && i < p->j->ndir; i++) {
		const char *path = p->j->dir[i].path;
		int low = place_dir(p, path);

		if (low < 0 || open_upper(&e, path) != 0)
			continue;
		r = place_failed(p, path, end_times(e.fd, low));
	}
	if (e.fd >= 0)
		close(e.fd);
	free(e.path);
	return r;
}
