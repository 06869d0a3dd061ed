/* SPDX-License-Identifier: ISC */
/*
 * Adding and removing names. A new entry is made in its place at once, beside
 * the `.wh.` file that hides the lower one, if there is one, and that goes
 * afterwards: so the directory's own rules (set-group-ID, default ACL, project
 * quota) apply by themselves. Removing goes the other way round.
 */
#include "entries.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "copyup.h"
#include "inodes.h"
#include "readdir.h"
#include "whiteout.h"
#include "work.h"

int entries_dir(const struct ovl *o, const char *path, struct dir **dp, const char **name)
{
	const char *slash = strrchr(path, '/');
	char parent[PATH_MAX];
	int r;

	*dp = NULL; /* a rename gives back what it has */
	*name = slash + 1;
	if (!o->writable)
		return -EROFS;
	if (strlen(*name) > NAME_MAX)
		return -ENAMETOOLONG;
	if (layers_reserved(*name))
		return -EINVAL;
	if ((size_t)(slash - path) >= sizeof(parent))
		return -ENAMETOOLONG;
	memcpy(parent, path, (size_t)(slash - path));
	parent[slash - path] = '\0';
	r = layers_dir(o, parent, dp);
	/* Two trees would be mixed when what is hidden is shown again. */
	if (r == 0 && o->hide != NULL &&
	    (layers_unwanted(o, *dp, 0, *name, S_IFDIR) ||
	     layers_unwanted(o, *dp, 0, *name, S_IFREG))) {
		dir_put(o, *dp);
		*dp = NULL;
		r = -EPERM;
	}
	return r;
}

/* The same in the upper. */
static int parent_for(const struct ovl *o, const char *path, struct dir **dp, const char **name)
{
	int r = entries_dir(o, path, dp, name);

	if (r != 0)
		return r;
	r = copyup_dir(o, dp);
	if (r != 0)
		dir_put(o, *dp);
	return r;
}

/* The mode that the new file gets; a default ACL takes the umask's place. */
static mode_t new_mode(const struct part *p, mode_t mode, const struct caller *by)
{
	return p->flags & PART_DEFAULT_ACL ? mode : mode & ~by->umask;
}

/* Give a new file to the caller. mode: its set-id bits, which chown clears. */
static int give(const struct ovl *o, const struct part *p, struct at a, mode_t mode,
		const struct caller *by)
{
	bool inherit = p->flags & PART_SETGID;
	struct stat st;
	int r;

	if (!o->privileged || o->squash ||
	    (by->uid == geteuid() && (inherit || by->gid == getegid())))
		return 0;
	r = at_chown(a, by->uid, inherit ? (gid_t)-1 : by->gid);
	if (r != 0 || S_ISLNK(mode) || S_ISDIR(mode) || !(mode & (S_ISUID | S_ISGID)))
		return r;
	r = at_stat(a, &st, 0); /* a default ACL may have taken other bits */
	return r == 0 ? at_chmod(a, (st.st_mode & 01777) | (mode & (S_ISUID | S_ISGID))) : r;
}

/* What is to be made, for the one function that makes it. */
struct new_entry {
	mode_t mode; /* with its type */
	dev_t rdev;
	int flags;	    /* of a regular file to be opened; -1: only made */
	const char *target; /* of a symbolic link */
};

/* Returns the descriptor of an opened file, else 0. */
static int make(const struct part *p, const char *name, const struct new_entry *n, mode_t mode)
{
	int r;

	if (S_ISDIR(n->mode))
		r = mkdirat(p->fd, name, mode & 07777);
	else if (n->target != NULL)
		r = symlinkat(n->target, p->fd, name);
	else if (n->flags != -1)
		return at_open((struct at){p->fd, name}, n->flags | O_CREAT | O_EXCL, mode & 07777);
	else
		r = mknodat(p->fd, name, mode, n->rdev);
	return r == -1 ? -errno : 0;
}

static void unmake(const struct part *p, const char *name, const struct new_entry *n, int fd)
{
	if (n->flags != -1 && fd >= 0)
		close(fd);
	unlinkat(p->fd, name, S_ISDIR(n->mode) ? AT_REMOVEDIR : 0);
}

static int make_in(const struct ovl *o, struct dir *d, const char *name, const struct new_entry *n,
		   const struct caller *by)
{
	struct part *p = dir_upper(o, d);
	struct at a = {p->fd, name};
	mode_t mode = new_mode(p, n->mode, by);
	bool was = false;
	int fd, r = 0;

	fd = make(p, name, n, mode);
	if (fd == -EEXIST || (fd >= 0 && S_ISDIR(n->mode))) {
		int made = fd;

		r = whiteout_set_aside(o, d, name, &was);
		if (made == -EEXIST && r == 0)
			fd = was ? make(p, name, n, mode) : -EEXIST;
	}
	if (fd < 0)
		return fd;
	if (r == 0 && was && S_ISDIR(n->mode))
		r = whiteout_set_opaque(o, a, false);
	if (r == 0)
		r = give(o, p, a, mode, by);
	if (r == 0)
		r = whiteout_clear(o, d, name);
	if (r == 0)
		return fd;
	unmake(p, name, n, fd);
	return r;
}

static int make_path(const struct ovl *o, const char *path, const struct new_entry *n,
		     const struct caller *by)
{
	struct dir *d;
	const char *name;
	int r = parent_for(o, path, &d, &name);

	if (r != 0)
		return r;
	r = make_in(o, d, name, n, by);
	dir_put(o, d);
	return r;
}

int entries_create(const struct ovl *o, const char *path, int flags, mode_t mode,
		   const struct caller *by)
{
	struct new_entry n = {.mode = S_IFREG | (mode & 07777), .flags = flags & ~O_NOFOLLOW};

	return make_path(o, path, &n, by);
}

int entries_mknod(const struct ovl *o, const char *path, mode_t mode, dev_t rdev,
		  const struct caller *by)
{
	struct new_entry n = {.mode = mode, .rdev = rdev, .flags = -1};

	if (S_ISCHR(mode) && rdev == 0)
		return -EPERM; /* it would be a whiteout */
	return make_path(o, path, &n, by);
}

int entries_mkdir(const struct ovl *o, const char *path, mode_t mode, const struct caller *by)
{
	struct new_entry n = {.mode = S_IFDIR | (mode & 07777), .flags = -1};

	return make_path(o, path, &n, by);
}

int entries_symlink(const struct ovl *o, const char *target, const char *path,
		    const struct caller *by)
{
	struct new_entry n = {.mode = S_IFLNK | 0777, .flags = -1, .target = target};

	return make_path(o, path, &n, by);
}

int entries_tmpfile(const struct ovl *o, const char *path, int flags, mode_t mode,
		    const struct caller *by)
{
	struct dir *d;
	const char *name;
	int fd, r = parent_for(o, path, &d, &name);

	if (r != 0)
		return r;
	mode = new_mode(dir_upper(o, d), mode & 07777, by);
	fd = at_open((struct at){dir_upper(o, d)->fd, "."},
		     (flags & ~(O_CREAT | O_EXCL | O_NOFOLLOW)) | O_TMPFILE | O_RDWR, mode);
	if (fd >= 0) {
		r = give(o, dir_upper(o, d), (struct at){fd, ""}, S_IFREG | mode, by);
		if (r != 0) {
			close(fd);
			fd = r;
		}
	}
	dir_put(o, d);
	return fd;
}

static int link_into(const struct ovl *o, struct dir *d, struct at file, const char *name)
{
	struct at to = {dir_upper(o, d)->fd, name};
	bool was;
	int r = whiteout_set_aside(o, d, name, &was);

	if (r == 0)
		r = at_link(file, to);
	if (r == 0 && was)
		r = whiteout_clear(o, d, name);
	return r;
}

int entries_link_bare(const struct ovl *o, struct at file, uint64_t ino, const char *path)
{
	struct stat st;
	struct dir *d;
	const char *name;
	int r = parent_for(o, path, &d, &name);

	if (r != 0)
		return r;
	r = at_stat(file, &st, 0);
	if (r == 0 && ino != inodes_identity(o, &st)) {
		r = inodes_mark(o, d);
		if (r == 0)
			r = inodes_keep(o, &st, ino); /* with no name left it was forgotten */
	}
	if (r == 0)
		r = link_into(o, d, file, name);
	dir_put(o, d);
	return r;
}

int entries_link(const struct ovl *o, struct entry *e, const char *path)
{
	struct dir *d;
	const char *name;
	int r = parent_for(o, path, &d, &name);

	if (r != 0)
		return r;
	r = copyup_entry(o, e, false);
	if (r == 0 && e->ino != inodes_identity(o, &e->st))
		r = inodes_mark(o, d);
	if (r == 0)
		r = link_into(o, d, e->at, name);
	dir_put(o, d);
	return r;
}

/* Removing. */

void entries_removed(const struct ovl *o, const struct entry *e)
{
	if (e->upper && !e->indexed) {
		inodes_gone(o, &e->st);
		inodes_index_check(o, e->ino);
	} else if (!S_ISDIR(e->st.st_mode) && (e->indexed || e->st.st_nlink > 1)) {
		inodes_index_take(o, e->ino, &e->st);
	}
}

static int remove_name(const struct ovl *o, struct entry *e)
{
	struct dir *d = dir_ref(o, e->dir);
	bool below = true;
	int r = copyup_dir(o, &d);

	if (r == 0 && e->upper && !e->indexed)
		r = layers_below(o, d, e->name, &below);
	if (r != 0)
		goto out;
	r = inodes_index_note(o, e);
	if (r != 0)
		goto out;
	if (!e->upper || e->indexed)
		r = whiteout_create(o, d, e->name);
	else if (below)
		r = whiteout_replace(o, d, e->name, false);
	else if (unlinkat(dir_upper(o, d)->fd, e->name, 0) == -1)
		r = -errno;
	if (r == 0)
		entries_removed(o, e);
	else
		inodes_index_keep(o, e);
out:
	dir_put(o, d);
	return r;
}

int entries_unlink(const struct ovl *o, struct entry *e)
{
	if (!o->writable)
		return -EROFS;
	return S_ISDIR(e->st.st_mode) ? -EISDIR : remove_name(o, e);
}

static int remove_dir(const struct ovl *o, struct dir *parent, struct dir *d, const char *name)
{
	bool below;
	int r = layers_below(o, parent, name, &below);

	if (r != 0)
		return r;
	if (dir_upper(o, d) == NULL)
		return whiteout_create(o, parent, name);
	if (below)
		return whiteout_replace(o, parent, name, true);
	return whiteout_remove_dir(o, parent, name);
}

int entries_rmdir(const struct ovl *o, const char *path)
{
	struct dir *parent, *d;
	const char *name;
	struct stat st;
	int r;

	r = entries_dir(o, path, &parent, &name);
	if (r != 0)
		return r == -EINVAL ? -ENOENT : r;
	r = layers_dir(o, path, &d);
	if (r == 0) {
		r = d->nparts == 0 ? -EBUSY : readdir_empty(o, d);
		if (r == 0)
			r = copyup_dir(o, &parent);
		if (r == 0)
			r = remove_dir(o, parent, d, name);
		if (r == 0 && dir_upper(o, d) != NULL &&
		    at_stat((struct at){dir_upper(o, d)->fd, ""}, &st, 0) == 0)
			inodes_gone(o, &st);
		dir_put(o, d);
	}
	if (r == 0)
		layers_drop_tree(o, path);
	dir_put(o, parent);
	return r;
}
