/* SPDX-License-Identifier: ISC */
/*
 * The work directory. It lies on the upper's file system, so that a rename
 * from it is atomic: a crash leaves an entry either whole in its place or as
 * a left-over here.
 */
#include "work.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/fs.h>
#include <linux/magic.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/statfs.h>
#include <sys/sysmacros.h>
#include <syslog.h>
#include <unistd.h>

#include "inodes.h"
#include "whiteout.h"

static int make_dir(int at, const char *path, int *fd)
{
	if (mkdirat(at, path, 0700) == -1 && errno != EEXIST)
		return -errno;
	*fd = openat(at, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	return *fd == -1 ? -errno : 0;
}

static int try_lock(int fd)
{
	return flock(fd, LOCK_EX | LOCK_NB) == -1 ? -errno : 0;
}

/* The open directory is locked as long as any process has this descriptor. */
static int take_lock(int fd, long *owner)
{
	enum { LOCK_TRIES = 100 };
	char pid[32];
	ssize_t n;
	int r = try_lock(fd);

	/* A daemon that was just unmounted may still be about to end. */
	for (int i = 0; r == -EWOULDBLOCK && i < LOCK_TRIES; i++) {
		poll(NULL, 0, 10);
		r = try_lock(fd);
	}
	if (r != -EWOULDBLOCK)
		return r;
	n = at_getxattr((struct at){fd, ""}, WORK_PROCESS_XATTR, pid, sizeof(pid) - 1);
	pid[n < 0 ? 0 : n] = '\0';
	*owner = strtol(pid, NULL, 10);
	return -EBUSY;
}

static int mark_volatile(const struct ovl *o)
{
	if (faccessat(o->workfd, "volatile", F_OK, AT_SYMLINK_NOFOLLOW) == 0)
		return -EUCLEAN;
	if (o->is_volatile && mknodat(o->workfd, "volatile", S_IFREG | 0600, 0) == -1)
		return -errno;
	return 0;
}

static int remove_left_over(void *arg, const char *name, unsigned char type, ino_t ino)
{
	(void)type;
	(void)ino;
	return name[0] == '#' ? at_remove_tree((struct at){*(int *)arg, name}) : 0;
}

/* The upper's own times do not tell of us. */
static void keep_times(const struct ovl *o, const struct stat *st)
{
	at_utimens((struct at){o->layer[0].fd, "."}, (struct timespec[]){st->st_atim, st->st_mtim});
}

/* Inside another overlay, names that begin with .wh. are refused. */
static int try_reserved(const struct ovl *o)
{
	if (mkdirat(o->layer[0].fd, WHITEOUT_WORK, 0700) == 0)
		unlinkat(o->layer[0].fd, WHITEOUT_WORK, AT_REMOVEDIR);
	else if (errno == EINVAL)
		return -EINVAL;
	return 0;
}

/* Whether the file system on a device is one with a journal of ext4, inside it. */
static bool has_journal(dev_t dev)
{
	char link[64], target[PATH_MAX], path[sizeof("/proc/fs/jbd2/-8") + NAME_MAX];
	const char *slash;

	snprintf(link, sizeof(link), "/sys/dev/block/%u:%u", major(dev), minor(dev));
	if (at_readlink((struct at){AT_FDCWD, link}, target, sizeof(target)) != 0)
		return false;
	slash = strrchr(target, '/');
	snprintf(path, sizeof(path), "/proc/fs/jbd2/%.*s-8", NAME_MAX,
		 slash == NULL ? target : slash + 1);
	return access(path, F_OK) == 0;
}

/* Files of a realtime section are on a device of their own. */
static bool is_realtime(int fd)
{
	struct fsxattr x;

	return ioctl(fd, FS_IOC_FSGETXATTR, &x) == -1 || (x.fsx_xflags & FS_XFLAG_RTINHERIT);
}

/*
 * How copies are made safe. ext4 and XFS finish all that belongs to data, such as the
 * file's size, before a wait for them ends; all that in the journal comes before
 * a later rename, and a commit flushes the disk's cache first. So it is enough to
 * wait. Others, btrfs for one, do such work afterwards: there, only a flush is certain.
 */
static enum copy_safety safety(const struct ovl *o)
{
	struct statfs fs;

	if (o->is_volatile)
		return COPY_LAZY;
	if (fstatfs(o->workfd, &fs) == 0 &&
	    ((fs.f_type == EXT4_SUPER_MAGIC && has_journal(o->work_st.st_dev)) ||
	     (fs.f_type == XFS_SUPER_MAGIC && !is_realtime(o->workfd))))
		return COPY_ORDERED;
	return COPY_FLUSHED;
}

int work_open(struct ovl *o, const char *path, long *owner, bool *work)
{
	struct stat st;
	int fd, r;

	o->indexfd = o->workfd = -1;
	*owner = 0;
	*work = false;
	r = take_lock(o->layer[0].fd, owner);
	if (r != 0)
		return r;
	o->locked = true;
	r = at_stat((struct at){o->layer[0].fd, "."}, &st, 0);
	if (r == 0 && path == NULL)
		r = make_dir(o->layer[0].fd, WHITEOUT_WORK, &o->workfd);
	else if (r == 0)
		r = make_dir(AT_FDCWD, path, &o->workfd);
	if (r == 0 && path != NULL && o->format == WHITEOUT_WH)
		r = try_reserved(o);
	keep_times(o, &st);
	if (r == 0) { /* what is staged must not inherit */
		at_removexattr((struct at){o->workfd, "."}, "system.posix_acl_default");
		r = at_stat((struct at){o->workfd, ""}, &o->work_st, 0);
	}
	if (r == 0 && o->work_st.st_dev != o->layer[0].dev)
		r = -EXDEV;
	if (r == 0) {
		r = take_lock(o->workfd, owner);
		*work = r == -EBUSY;
	}
	if (r == 0)
		r = mark_volatile(o);
	o->safety = safety(o);
	if (r == 0)
		r = make_dir(o->workfd, "index", &o->indexfd);
	if (r != 0)
		return r;
	fd = at_open((struct at){o->workfd, "."}, O_RDONLY | O_DIRECTORY, 0);
	if (fd < 0)
		return fd;
	r = at_list(fd, remove_left_over, &fd);
	close(fd);
	return r;
}

void work_claim(const struct ovl *o)
{
	char pid[32];
	int n = snprintf(pid, sizeof(pid), "%ld", (long)getpid());

	at_setxattr((struct at){o->layer[0].fd, "."}, WORK_PROCESS_XATTR, pid, (size_t)n, 0);
	at_setxattr((struct at){o->workfd, "."}, WORK_PROCESS_XATTR, pid, (size_t)n, 0);
}

void work_close(struct ovl *o, const char *path)
{
	struct stat st;

	/* Without the locks, all this is another's. */
	if (o->locked && o->indexfd != -1 &&
	    at_stat((struct at){o->layer[0].fd, "."}, &st, 0) == 0) {
		if (o->is_volatile && syncfs(o->workfd) == 0)
			unlinkat(o->workfd, "volatile", 0);
		at_removexattr((struct at){o->layer[0].fd, "."}, WORK_PROCESS_XATTR);
		at_removexattr((struct at){o->workfd, "."}, WORK_PROCESS_XATTR);
		unlinkat(o->workfd, "index", AT_REMOVEDIR);
		if (path == NULL)
			unlinkat(o->layer[0].fd, WHITEOUT_WORK, AT_REMOVEDIR);
		keep_times(o, &st);
	}
	if (o->indexfd != -1)
		close(o->indexfd);
	if (o->workfd != -1)
		close(o->workfd);
	o->indexfd = o->workfd = -1;
}

struct at work_stage(const struct ovl *o, char buf[32])
{
	static atomic_ulong counter; /* staged names need only differ from each other */

	snprintf(buf, 32, "#%lx", ++counter);
	return (struct at){o->workfd, buf};
}

int work_fits(const struct ovl *o, off_t size)
{
	int r = 0, fd = openat(o->workfd, ".", O_TMPFILE | O_WRONLY | O_CLOEXEC, 0600);

	if (fd == -1)
		return 0; /* then the file itself will tell */
	if (ftruncate(fd, size) == -1)
		r = -errno;
	close(fd);
	return r;
}

void work_discard(const struct ovl *o, struct at staged)
{
	struct stat st;
	int r = at_stat(staged, &st, 0);

	if (r == 0)
		inodes_gone(o, &st);
	r = at_remove_tree(staged);
	if (r != 0)
		syslog(LOG_WARNING, "cannot remove %s from the work directory: %s", staged.name,
		       strerror(-r));
}

int work_place(struct at staged, struct at to)
{
	struct at dir = {to.fd, ""};
	struct stat st;
	mode_t mode;
	int r = at_stat(dir, &st, 0);

	if (r == 0)
		r = at_unlock(dir, &mode);
	if (r != 0)
		return r;
	if (renameat2(staged.fd, staged.name, to.fd, to.name, RENAME_NOREPLACE) == -1)
		r = -errno;
	if (r == -EINVAL && faccessat(to.fd, to.name, F_OK, AT_SYMLINK_NOFOLLOW) == -1)
		r = renameat(staged.fd, staged.name, to.fd, to.name) == -1 ? -errno : 0;
	r = at_restore(dir, mode, r);
	if (r == 0)
		at_utimens(dir, (struct timespec[]){st.st_atim, st.st_mtim});
	return r;
}

int work_take(const struct ovl *o, struct at dir, struct at staged, unsigned flags)
{
	mode_t mode;
	int r = at_unlock(dir, &mode);

	if (r == 0 && renameat2(dir.fd, dir.name, staged.fd, staged.name, flags) == -1)
		r = at_restore(dir, mode, -errno);
	if (r == 0)
		work_discard(o, staged);
	return r;
}
