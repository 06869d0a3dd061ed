/* SPDX-License-Identifier: ISC */
/*
 * Our own mounts. A path is compared as text with the kernel's list: looking
 * at the mount point itself could wait for a daemon that is not there.
 */
#include "mounts.h"

#include <err.h>
#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "options.h"

#define FS_TYPE "fuse.overlayfs"

/* Undo the kernel's escapes (\040 and so on), in place. */
static void decode(char *s)
{
	char *to = s;

	while (*s != '\0') {
		if (s[0] == '\\' && s[1] >= '0' && s[1] <= '3' && s[2] != '\0' && s[3] != '\0') {
			*to++ = (char)((s[1] - '0') * 64 + (s[2] - '0') * 8 + (s[3] - '0'));
			s += 4;
		} else {
			*to++ = *s++;
		}
	}
	*to = '\0';
}

/* The absolute path without links in it, but for the last component itself. */
static char *resolve(const char *path)
{
	char *copy = strdup(path), *slash, *dir, *full = NULL;
	const char *name;
	size_t len = copy == NULL ? 0 : strlen(copy);

	while (len > 1 && copy[len - 1] == '/')
		copy[--len] = '\0';
	if (copy == NULL || strcmp(copy, "/") == 0)
		return copy;
	slash = strrchr(copy, '/');
	name = slash == NULL ? copy : slash + 1;
	if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0) {
		full = realpath(copy, NULL);
		free(copy);
		return full;
	}
	if (slash != NULL)
		*slash = '\0';
	dir = realpath(slash == NULL ? "." : *copy == '\0' ? "/" : copy, NULL);
	if (dir != NULL && asprintf(&full, "%s/%s", strcmp(dir, "/") == 0 ? "" : dir, name) == -1)
		full = NULL;
	free(dir);
	free(copy);
	return full;
}

/* Whether the last mount on the path is ours: it covers those before. */
static bool listed(const char *full)
{
	FILE *f = fopen("/proc/self/mountinfo", "re");
	char *line = NULL, where[PATH_MAX], type[64];
	const char *rest;
	size_t size = 0;
	bool ours = false;

	while (f != NULL && getline(&line, &size, f) != -1) {
		rest = strstr(line, " - ");
		if (rest == NULL || sscanf(line, "%*s %*s %*s %*s %4095s", where) != 1 ||
		    sscanf(rest, " - %63s", type) != 1)
			continue;
		decode(where);
		if (strcmp(where, full) == 0)
			ours = strcmp(type, FS_TYPE) == 0;
	}
	free(line);
	if (f != NULL)
		fclose(f);
	return ours;
}

bool mounts_is_ours(const char *path)
{
	char *full = resolve(path);
	bool ours = full != NULL && listed(full);

	free(full);
	return ours;
}

static int run_fusermount(const char *path)
{
	pid_t pid = fork();
	int status;

	if (pid == 0) {
		execlp("fusermount3", "fusermount3", "-u", path, (char *)NULL);
		err(1, "fusermount3");
	}
	if (pid == -1 || waitpid(pid, &status, 0) == -1)
		err(1, "fusermount3");
	return status == 0 ? 0 : 1;
}

int mounts_detach(const char *path)
{
	char *argv[] = {"fusermount3", "-u", "-q", "-z", "--", (char *)(uintptr_t)path, NULL};
	int status, r;
	pid_t pid;

	if (umount2(path, MNT_DETACH | UMOUNT_NOFOLLOW) == 0)
		return 0;
	if (errno != EPERM)
		return -errno;
	r = posix_spawnp(&pid, argv[0], NULL, NULL, argv, environ);
	if (r != 0)
		return -r;
	if (waitpid(pid, &status, 0) == -1)
		return -errno;
	return status == 0 ? 0 : -EPERM;
}

/* The mount is gone at once; its daemon still writes back and cleans up. */
static void wait_for_end(int pidfd)
{
	struct pollfd p = {.fd = pidfd, .events = POLLIN};

	if (pidfd != -1) {
		poll(&p, 1, 60000);
		close(pidfd);
	}
}

static int open_daemon(const char *path)
{
	char value[32];
	ssize_t n = getxattr(path, MOUNTS_PID_XATTR, value, sizeof(value) - 1);

	if (n <= 0)
		return -1;
	value[n] = '\0';
	return (int)syscall(SYS_pidfd_open, (pid_t)strtol(value, NULL, 10), 0);
}

int mounts_umount(int argc, char *argv[])
{
	char *path;
	int daemon, status = 0;

	if (argc != 2 || argv[1][0] == '-')
		errx(1, "umount: usage: overlayfs umount MOUNTPOINT");
	path = resolve(argv[1]);
	if (path == NULL)
		err(1, "umount %s", options_show(argv[1]));
	if (!listed(path))
		errx(1, "umount %s: not a mount of overlayfs", options_show(argv[1]));
	daemon = open_daemon(path);
	if (umount2(path, UMOUNT_NOFOLLOW) == -1) {
		if (errno != EPERM)
			err(1, "umount %s", options_show(argv[1]));
		status = run_fusermount(path);
	}
	if (status == 0)
		wait_for_end(daemon);
	free(path);
	return status;
}
