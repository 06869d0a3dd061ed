/* SPDX-License-Identifier: ISC */
/*
 * Opening files: the layer's file is opened with flags that let the daemon do
 * what the kernel will ask of it.
 */
#define FUSE_USE_VERSION 312
#include "opening.h"

#include <errno.h>
#include <fcntl.h>
#include <fuse.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "copy.h"
#include "copyup.h"
#include "inodes.h"
#include "setid.h"

int opening_flags(int flags)
{
	return flags & ~(O_CREAT | O_EXCL | O_NOFOLLOW | O_APPEND | O_DIRECT | O_TRUNC | O_NOCTTY |
			 O_NOATIME | O_CLOEXEC);
}

/* A file of the upper. The kernel knows who may have O_NOATIME. */
static int open_upper(struct at a, int flags)
{
	int layer = opening_flags(flags) | (flags & O_TRUNC), fd;

	if (flags & O_NOATIME)
		return at_open_quiet(a, layer);
	fd = at_open(a, layer, 0);
	if (fd == -EPERM && (flags & O_APPEND)) /* nothing else is allowed by chattr +a */
		fd = at_open(a, layer | O_APPEND, 0);
	return fd;
}

static bool wants_write(int flags)
{
	return (flags & O_ACCMODE) != O_RDONLY || (flags & O_TRUNC);
}

static int add_file(const struct ovl *o, struct fuse_file_info *fi, int fd, uint64_t ino,
		    bool lower)
{
	struct file *f = files_add(o, fd, fi->flags, ino, lower);

	if (f == NULL) {
		close(fd);
		return -ENOMEM;
	}
	fi->fh = (uintptr_t)f;
	return 0;
}

int opening_hidden(const struct ovl *o, struct hidden *h, struct fuse_file_info *fi)
{
	struct at a = {h->file.fd, ""};
	int fd, r = wants_write(fi->flags) ? copyup_hidden(o, h) : 0;

	if (r != 0)
		return r;
	if (h->upper)
		fd = open_upper(a, fi->flags);
	else
		fd = at_open_quiet(a, opening_flags(fi->flags));
	return fd < 0 ? fd : add_file(o, fi, fd, h->file.ino, !h->upper);
}

static int open_entry(const struct ovl *o, struct entry *e, struct fuse_file_info *fi)
{
	int fd, r = wants_write(fi->flags) ? copyup_entry(o, e, fi->flags & O_TRUNC) : 0;

	if (r != 0)
		return r;
	if (!(fi->flags & O_TRUNC) && (e->dir->part[e->part].flags & PART_IMPURE) &&
	    copy_lacks_data(e->at, &e->st))
		return -EIO;
	if (e->upper)
		fd = open_upper(e->at, fi->flags);
	else
		fd = at_open_quiet(e->at, opening_flags(fi->flags));
	if (fd < 0)
		return fd;
	if (fi->flags & O_TRUNC)
		setid_clear(e->at);
	fi->keep_cache = o->timeout > 0;
	/* Files of proc(5) have no size. */
	fi->direct_io = !e->upper && e->st.st_size == 0 && e->st.st_blocks == 0 &&
			e->st.st_dev != o->layer[e->dir->part[e->part].layer].dev;
	return add_file(o, fi, fd, e->ino, !e->upper);
}

int opening_path(const struct ovl *o, const char *path, struct fuse_file_info *fi)
{
	unsigned long generation;
	struct entry e;
	struct file *f;
	bool lower;
	int r;

	do { /* again, when it was copied up before it was listed as open */
		generation = files_generation(o);
		r = layers_lookup(o, path, &e);
		if (r != 0)
			return r;
		r = open_entry(o, &e, fi);
		lower = !e.upper;
		entry_done(o, &e);
		if (r != 0 || !lower)
			return r;
		f = (struct file *)(uintptr_t)fi->fh;
		if (generation == files_generation(o)) {
			f->path = strdup(path);
			return 0;
		}
		files_close(o, f);
	} while (true);
}

int opening_created(const struct ovl *o, int fd, struct fuse_file_info *fi)
{
	struct stat st;

	if (fstat(fd, &st) == -1) {
		int r = -errno;

		close(fd);
		return r;
	}
	return add_file(o, fi, fd, inodes_identity(o, &st), false);
}
