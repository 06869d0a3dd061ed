/* SPDX-License-Identifier: ISC */
/*
 * The work directory. It lies on the upper's file system, so that a rename
 * from it is atomic: a crash leaves an entry either whole in its place or as
 * a left-over here.
 */
#include "work.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <syslog.h>
#include <unistd.h>

#include "whiteout.h"

static int make_dir(int at, const char *path, int *fd)
{
	if (mkdirat(at, path, 0700) == -1 && errno != EEXIST)
		return -errno;
	*fd = openat(at, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	return *fd == -1 ? -errno : 0;
}

/* A lock file that its holder has removed meanwhile is no lock. */
static int take_lock(struct ovl *o, long *owner)
{
	int flags = O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC;
	char pid[32] = "";
	struct stat st = {0};

	while (st.st_nlink == 0) {
		if (o->lockfd != -1)
			close(o->lockfd);
		o->lockfd = openat(o->workfd, "lock", flags, 0600);
		if (o->lockfd == -1)
			return -errno;
		if (flock(o->lockfd, LOCK_EX | LOCK_NB) == -1)
			break;
		if (fstat(o->lockfd, &st) == -1)
			return -errno;
	}
	if (st.st_nlink > 0)
		return 0;
	if (errno == EWOULDBLOCK && pread(o->lockfd, pid, sizeof(pid) - 1, 0) > 0)
		*owner = strtol(pid, NULL, 10);
	close(o->lockfd);
	o->lockfd = -1;
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

int work_open(struct ovl *o, const char *path, long *owner)
{
	int fd, r;

	o->lockfd = o->indexfd = o->workfd = -1;
	*owner = 0;
	if (path == NULL)
		r = make_dir(o->layer[0].fd, WHITEOUT_WORK, &o->workfd);
	else
		r = make_dir(AT_FDCWD, path, &o->workfd);
	if (r == 0)
		r = at_stat((struct at){o->workfd, ""}, &o->work_st, 0);
	if (r == 0 && o->work_st.st_dev != o->layer[0].dev)
		r = -EXDEV;
	if (r == 0)
		r = take_lock(o, owner);
	if (r == 0)
		r = mark_volatile(o);
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

int work_claim(const struct ovl *o)
{
	char pid[32];
	int n = snprintf(pid, sizeof(pid), "%ld\n", (long)getpid());

	if (ftruncate(o->lockfd, 0) == -1 || pwrite(o->lockfd, pid, (size_t)n, 0) != n)
		return -errno;
	return 0;
}

void work_close(struct ovl *o, const char *path)
{
	if (o->lockfd != -1) { /* without the lock, all this is another's */
		if (o->indexfd != -1 && o->is_volatile && syncfs(o->workfd) == 0)
			unlinkat(o->workfd, "volatile", 0);
		unlinkat(o->workfd, "index", AT_REMOVEDIR);
		unlinkat(o->workfd, "lock", 0);
		if (path == NULL)
			unlinkat(o->layer[0].fd, WHITEOUT_WORK, AT_REMOVEDIR);
		close(o->lockfd);
	}
	if (o->indexfd != -1)
		close(o->indexfd);
	if (o->workfd != -1)
		close(o->workfd);
	o->lockfd = o->indexfd = o->workfd = -1;
}

struct at work_stage(const struct ovl *o, char buf[32])
{
	static atomic_ulong counter; /* staged names need only differ from each other */

	snprintf(buf, 32, "#%lx", ++counter);
	return (struct at){o->workfd, buf};
}

void work_discard(const struct ovl *o, struct at staged)
{
	int r = at_remove_tree(staged);

	(void)o;
	if (r != 0)
		syslog(LOG_WARNING, "cannot remove %s from the work directory: %s", staged.name,
		       strerror(-r));
}

int work_place(struct at staged, struct at to)
{
	struct stat st;
	int r = fstat(to.fd, &st) == -1 ? -errno : 0;
	bool locked = r == 0 && !(st.st_mode & S_IWUSR) && geteuid() != 0;

	if (locked)
		r = at_chmod((struct at){to.fd, ""}, (st.st_mode & 07777) | S_IWUSR);
	if (r != 0)
		return r;
	if (renameat2(staged.fd, staged.name, to.fd, to.name, RENAME_NOREPLACE) == -1)
		r = -errno;
	if (r == -EINVAL && faccessat(to.fd, to.name, F_OK, AT_SYMLINK_NOFOLLOW) == -1)
		r = renameat(staged.fd, staged.name, to.fd, to.name) == -1 ? -errno : 0;
	if (locked && at_chmod((struct at){to.fd, ""}, st.st_mode & 07777) != 0 && r == 0)
		r = -EIO;
	if (r == 0)
		at_utimens((struct at){to.fd, ""}, (struct timespec[]){st.st_atim, st.st_mtim});
	return r;
}
