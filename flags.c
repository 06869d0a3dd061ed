/* SPDX-License-Identifier: ISC */
/*
 * The flags that chattr(1) sets lie with the layers' files, and are read and set there. The kernel
 * opens a file for each such request, and asks us whether the caller has the privilege.
 */
#include "flags.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "copyup.h"

static bool is_known(unsigned cmd)
{
	/* The last is what the kernel asks before it sets flags. */
	return cmd == FS_IOC_SETFLAGS || cmd == FS_IOC_GETFLAGS || cmd == FS_IOC_FSGETXATTR;
}

/* Whether flags would change that need a privilege. */
static bool changes_privileged(int fd, const void *data)
{
	unsigned now, then;

	memcpy(&then, data, sizeof(then));
	return ioctl(fd, FS_IOC_GETFLAGS, &now) == -1 ||
	       ((now ^ then) & (FS_IMMUTABLE_FL | FS_APPEND_FL)) != 0;
}

static int perform(int fd, unsigned cmd, void *data, bool privileged)
{
	if (cmd == FS_IOC_SETFLAGS && !privileged && changes_privileged(fd, data))
		return -EPERM;
	return ioctl(fd, cmd, data) == -1 ? -errno : 0;
}

/* The name that it was opened by is taken if it still leads to the file. */
static int copyup_opened(const struct ovl *o, const struct file *f)
{
	struct entry e;
	int r = f->path == NULL ? -ENOENT : layers_lookup(o, f->path, &e);

	if (r != 0)
		return -EOPNOTSUPP;
	r = e.ino == f->ino ? copyup_entry(o, &e, false) : -EOPNOTSUPP;
	entry_done(o, &e);
	return r;
}

int flags_of_file(const struct ovl *o, const struct file *f, unsigned cmd, void *data,
		  bool privileged)
{
	int r = is_known(cmd) ? 0 : -ENOTTY;

	if (cmd == FS_IOC_SETFLAGS && f->lower)
		r = copyup_opened(o, f);
	return r != 0 ? r : perform(f->fd, cmd, data, privileged);
}

int flags_of_dir(const struct ovl *o, const struct listdir *x, unsigned cmd, void *data,
		 bool privileged)
{
	struct dir *d;
	int fd, r = is_known(cmd) ? readdir_now(o, x, &d) : -ENOTTY;

	if (r != 0)
		return r;
	if (cmd == FS_IOC_SETFLAGS)
		r = copyup_dir(o, &d);
	if (r == 0) {
		fd = at_open_quiet((struct at){d->part[0].fd, "."}, O_RDONLY | O_DIRECTORY);
		r = fd < 0 ? fd : perform(fd, cmd, data, privileged);
		if (fd >= 0)
			close(fd);
	}
	dir_put(o, d);
	return r;
}
