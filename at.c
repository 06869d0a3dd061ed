/* SPDX-License-Identifier: ISC */
/*
 * One file of a layer, named without following anything. Where the kernel has
 * no system call that takes a descriptor and a name (extended attributes,
 * chmod of what must not be a link), /proc/self/fd is the way that works for
 * every file type and without privilege.
 */
#include "at.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/xattr.h>
#include <unistd.h>

#ifndef SYS_fchmodat2
#ifdef __alpha__
#define SYS_fchmodat2 562
#else
#define SYS_fchmodat2 452
#endif
#endif

enum { PROC_PATH_MAX = sizeof("/proc/self/fd/") + 11 + 1 + 255 };

struct linux_dirent {
	ino64_t d_ino;
	off64_t d_off;
	unsigned short d_reclen;
	unsigned char d_type;
	char d_name[];
};

/*
 * The path of a file. The magic link of a bare descriptor is to be followed,
 * a name below one is not: *follow says which.
 */
static void proc_path(struct at a, char buf[PROC_PATH_MAX], bool *follow)
{
	*follow = a.name[0] == '\0';
	if (*follow)
		snprintf(buf, PROC_PATH_MAX, "/proc/self/fd/%d", a.fd);
	else
		snprintf(buf, PROC_PATH_MAX, "/proc/self/fd/%d/%s", a.fd, a.name);
}

int at_stat(struct at a, struct stat *st, int flags)
{
	flags |= AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT | AT_EMPTY_PATH;
	return fstatat(a.fd, a.name, st, flags) == -1 ? -errno : 0;
}

static int open_once(struct at a, int flags, mode_t mode)
{
	char path[PROC_PATH_MAX];
	bool follow;
	int fd;

	if (a.name[0] == '\0') {
		proc_path(a, path, &follow);
		fd = open(path, flags | O_CLOEXEC, mode);
	} else {
		fd = openat(a.fd, a.name, flags | O_NOFOLLOW | O_CLOEXEC, mode);
	}
	return fd == -1 ? -errno : fd;
}

int at_open(struct at a, int flags, mode_t mode)
{
	int fd = open_once(a, flags | O_NONBLOCK, mode);

	/* Not a FIFO, then, but a file with a lease, which ends soon. */
	return fd == -EWOULDBLOCK ? open_once(a, flags, mode) : fd;
}

int at_open_quiet(struct at a, int flags)
{
	int fd = at_open(a, flags | O_NOATIME, 0);

	return fd == -EPERM ? at_open(a, flags, 0) : fd;
}

static int chmod_proc(struct at a, mode_t mode)
{
	char path[PROC_PATH_MAX];
	bool follow;
	int fd, r;

	if (a.name[0] == '\0') {
		proc_path(a, path, &follow);
		return chmod(path, mode) == -1 ? -errno : 0;
	}
	fd = at_open(a, O_PATH, 0);
	if (fd < 0)
		return fd;
	r = chmod_proc((struct at){fd, ""}, mode);
	close(fd);
	return r;
}

/* Linux 6.6 has one call for it. EPERM may be the answer of a seccomp filter that is older. */
int at_chmod(struct at a, mode_t mode)
{
	static const int flags = AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH;

	if (syscall(SYS_fchmodat2, a.fd, a.name, mode, flags) == 0)
		return 0;
	return errno == ENOSYS || errno == EPERM || errno == EINVAL ? chmod_proc(a, mode) : -errno;
}

int at_chown(struct at a, uid_t uid, gid_t gid)
{
	int flags = AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH;

	return fchownat(a.fd, a.name, uid, gid, flags) == -1 ? -errno : 0;
}

int at_utimens(struct at a, const struct timespec tv[2])
{
	char path[PROC_PATH_MAX];
	bool follow;
	int r;

	if (a.name[0] == '\0') {
		proc_path(a, path, &follow);
		r = utimensat(AT_FDCWD, path, tv, 0);
	} else {
		r = utimensat(a.fd, a.name, tv, AT_SYMLINK_NOFOLLOW);
	}
	return r == -1 ? -errno : 0;
}

int at_readlink(struct at a, char *buf, size_t size)
{
	ssize_t n = readlinkat(a.fd, a.name, buf, size);

	if (n == -1)
		return -errno;
	if ((size_t)n >= size)
		return -ENAMETOOLONG;
	buf[n] = '\0';
	return 0;
}

ssize_t at_getxattr(struct at a, const char *attr, void *value, size_t size)
{
	char path[PROC_PATH_MAX];
	bool follow;
	ssize_t n;

	proc_path(a, path, &follow);
	n = follow ? getxattr(path, attr, value, size) : lgetxattr(path, attr, value, size);
	return n == -1 ? -errno : n;
}

ssize_t at_listxattr(struct at a, char *list, size_t size)
{
	char path[PROC_PATH_MAX];
	bool follow;
	ssize_t n;

	proc_path(a, path, &follow);
	n = follow ? listxattr(path, list, size) : llistxattr(path, list, size);
	return n == -1 ? -errno : n;
}

int at_setxattr(struct at a, const char *attr, const void *value, size_t size, int flags)
{
	char path[PROC_PATH_MAX];
	bool follow;
	int r;

	proc_path(a, path, &follow);
	r = follow ? setxattr(path, attr, value, size, flags)
		   : lsetxattr(path, attr, value, size, flags);
	return r == -1 ? -errno : 0;
}

int at_removexattr(struct at a, const char *attr)
{
	char path[PROC_PATH_MAX];
	bool follow;
	int r;

	proc_path(a, path, &follow);
	r = follow ? removexattr(path, attr) : lremovexattr(path, attr);
	return r == -1 ? -errno : 0;
}

int at_unlock(struct at a, mode_t *mode)
{
	struct stat st;
	int r;

	*mode = 0;
	if (geteuid() == 0)
		return 0;
	r = at_stat(a, &st, 0);
	if (r != 0 || S_ISLNK(st.st_mode) || (st.st_mode & S_IWUSR))
		return r;
	*mode = st.st_mode;
	return at_chmod(a, (st.st_mode & 07777) | S_IRWXU);
}

int at_restore(struct at a, mode_t mode, int r)
{
	if (mode != 0 && at_chmod(a, mode & 07777) != 0 && r == 0)
		return -EIO;
	return r;
}

int at_setxattr_force(struct at a, const char *attr, const void *value, size_t size)
{
	mode_t mode;
	int r = at_setxattr(a, attr, value, size, 0);

	if (r != -EACCES || at_unlock(a, &mode) != 0)
		return r;
	return at_restore(a, mode, at_setxattr(a, attr, value, size, 0));
}

int at_link(struct at a, struct at to)
{
	char path[PROC_PATH_MAX];
	bool follow;
	int r;

	if (a.name[0] == '\0') {
		proc_path(a, path, &follow);
		r = linkat(AT_FDCWD, path, to.fd, to.name, AT_SYMLINK_FOLLOW);
	} else {
		r = linkat(a.fd, a.name, to.fd, to.name, 0);
	}
	return r == -1 ? -errno : 0;
}

int at_list(int fd, int (*each)(void *arg, const char *name, unsigned char type, ino_t ino),
	    void *arg)
{
	size_t size = 32768;
	char *buf = malloc(size);
	long n;
	int r = 0;

	if (buf == NULL)
		return -ENOMEM;
	while (r == 0 && (n = syscall(SYS_getdents64, fd, buf, size)) != 0) {
		if (n == -1) { /* ENOENT: the directory itself was removed */
			r = errno == ENOENT ? 0 : -errno;
			break;
		}
		for (char *p = buf; r == 0 && p < buf + n;) {
			struct linux_dirent *d = (struct linux_dirent *)(void *)p;

			p += d->d_reclen;
			if (strcmp(d->d_name, ".") != 0 && strcmp(d->d_name, "..") != 0)
				r = each(arg, d->d_name, d->d_type, d->d_ino);
		}
	}
	free(buf);
	return r;
}

static int remove_child(void *arg, const char *name, unsigned char type, ino_t ino)
{
	struct at child = {*(int *)arg, name};

	(void)ino;
	if (type != DT_DIR && type != DT_UNKNOWN && unlinkat(child.fd, name, 0) == 0)
		return 0;
	return at_remove_tree(child);
}

int at_remove_tree(struct at a)
{
	int fd, r;

	if (unlinkat(a.fd, a.name, 0) == 0 || errno == ENOENT)
		return 0;
	if (errno != EISDIR && errno != EPERM)
		return -errno;
	if (unlinkat(a.fd, a.name, AT_REMOVEDIR) == 0)
		return 0;
	if (errno != ENOTEMPTY && errno != EEXIST)
		return -errno;
	fd = at_open(a, O_RDONLY | O_DIRECTORY, 0);
	if (fd == -EACCES && at_chmod(a, 0700) == 0)
		fd = at_open(a, O_RDONLY | O_DIRECTORY, 0);
	if (fd < 0)
		return fd;
	if (geteuid() != 0)
		fchmod(fd, 0700);
	r = at_list(fd, remove_child, &fd);
	close(fd);
	if (r == 0 && unlinkat(a.fd, a.name, AT_REMOVEDIR) == -1)
		r = -errno;
	return r;
}
