/* SPDX-License-Identifier: ISC */
/*
 * Opening files: the layer's file is opened with flags that let the daemon do
 * what the kernel will ask of it.
 */
#include "opening.h"

#include <errno.h>
#include <fcntl.h>
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

static int add_file(const struct ovl *o, int fd, int flags, uint64_t ino, bool lower,
		    struct file **f)
{
	*f = files_add(o, fd, flags, ino, lower);
	if (*f != NULL)
		return 0;
	close(fd);
	return -ENOMEM;
}

int opening_hidden(const struct ovl *o, struct hidden *h, int flags, struct file **f)
{
	struct at a = {h->file.fd, ""};
	int fd, r = wants_write(flags) ? copyup_hidden(o, h) : 0;

	if (r != 0)
		return r;
	if (h->upper)
		fd = open_upper(a, flags);
	else
		fd = at_open_quiet(a, opening_flags(flags));
	return fd < 0 ? fd : add_file(o, fd, flags, h->file.ino, !h->upper, f);
}

static int open_entry(const struct ovl *o, struct entry *e, int flags, struct file **f)
{
	int fd, r = wants_write(flags) ? copyup_entry(o, e, flags & O_TRUNC) : 0;

	if (r != 0)
		return r;
	if (!(flags & O_TRUNC) && (e->dir->part[e->part].flags & PART_IMPURE) &&
	    copy_lacks_data(e->at, &e->st))
		return -EIO;
	if (e->upper)
		fd = open_upper(e->at, flags);
	else
		fd = at_open_quiet(e->at, opening_flags(flags));
	if (fd < 0)
		return fd;
	if (flags & O_TRUNC)
		setid_clear(e->at);
	r = add_file(o, fd, flags, e->ino, !e->upper, f);
	if (r == 0)
		(*f)->no_size = !e->upper && e->st.st_size == 0 && e->st.st_blocks == 0 &&
				e->st.st_dev != o->layer[e->dir->part[e->part].layer].dev;
	return r;
}

int opening_path(const struct ovl *o, const char *path, int flags, struct file **f)
{
	unsigned long generation;
	struct entry e;
	bool lower;
	int r;

	do { /* again, when it was copied up before it was listed as open */
		generation = files_generation(o);
		r = layers_lookup(o, path, &e);
		if (r != 0)
			return r;
		r = open_entry(o, &e, flags, f);
		lower = !e.upper;
		entry_done(o, &e);
		if (r != 0 || !lower)
			return r;
		if (generation == files_generation(o)) {
			(*f)->path = strdup(path);
			return 0;
		}
		files_close(o, *f);
	} while (true);
}

int opening_created(const struct ovl *o, int fd, int flags, struct file **f)
{
	struct stat st;

	if (fstat(fd, &st) == -1) {
		int r = -errno;

		close(fd);
		return r;
	}
	return add_file(o, fd, flags, inodes_identity(o, &st), false, f);
}
