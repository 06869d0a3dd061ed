/* SPDX-License-Identifier: ISC */
/*
 * The daemon of a `run` is a child of it, and lives no longer: a pipe, whose
 * other end only `run` has, ends when that ends, however it ends. The daemon
 * is in a session of its own, so that no key of the terminal reaches it.
 */
#include "view.h"

#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <linux/capability.h>

#include "job.h"
#include "session.h"
#include "stack.h"

/* Whether the id (or more, see user_namespaces(7)) of a map file has a meaning here. */
static bool is_mapped(const char *map, unsigned long id)
{
	FILE *f = fopen(map, "re");
	unsigned long first, outside, count;
	bool found = f == NULL; /* a kernel without user namespaces */

	// NOLINTNEXTLINE(cert-err34-c): the kernel wrote it
	while (!found && fscanf(f, "%lu %lu %lu", &first, &outside, &count) == 3)
		found = id >= first && id - first < count;
	if (f != NULL)
		fclose(f);
	return found;
}

static unsigned long overflow_uid(void)
{
	FILE *f = fopen("/proc/sys/kernel/overflowuid", "re");
	unsigned long uid;

	// NOLINTNEXTLINE(cert-err34-c): the kernel wrote it
	if (f == NULL || fscanf(f, "%lu", &uid) != 1)
		uid = 65534;
	if (f != NULL)
		fclose(f);
	return uid;
}

void view_choose(struct view *v)
{
	v->life = -1;
	if (stack_capable(CAP_SYS_ADMIN))
		v->place = VIEW_PRIVATE;
	else if (prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1 ||
		 !is_mapped("/proc/self/uid_map", 0) || !stack_find_program("fusermount3"))
		v->place = VIEW_USERNS;
	else
		v->place = VIEW_FUSERMOUNT;
}

bool view_has_unknown_owners(const struct view *v)
{
	return v->place == VIEW_USERNS || !is_mapped("/proc/self/uid_map", overflow_uid());
}

static int write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC), r = 0;

	if (fd == -1)
		return -errno;
	if (write(fd, text, strlen(text)) == -1)
		r = -errno;
	close(fd);
	return r;
}

/* A user namespace where the caller is who it was, and may mount. */
static int enter_userns(void)
{
	char uid[64], gid[64];
	int r;

	snprintf(uid, sizeof(uid), "%u %u 1", geteuid(), geteuid());
	snprintf(gid, sizeof(gid), "%u %u 1", getegid(), getegid());
	if (unshare(CLONE_NEWUSER) == -1)
		return -errno;
	r = write_file("/proc/self/setgroups", "deny");
	if (r == 0 || r == -ENOENT)
		r = write_file("/proc/self/uid_map", uid);
	if (r == 0)
		r = write_file("/proc/self/gid_map", gid);
	return r;
}

static int make_place(const struct view *v)
{
	int r = v->place == VIEW_USERNS ? enter_userns() : 0;

	if (r != 0 || v->place == VIEW_FUSERMOUNT)
		return r;
	if (unshare(CLONE_NEWNS) == -1)
		return -errno;
	/* What is mounted outside shall appear, and what is unmounted go. */
	return mount(NULL, "/", NULL, MS_REC | MS_SLAVE, NULL) == -1 ? -errno : 0;
}

/* The daemon: descriptors 3 and 4 are its own, none of the caller's is kept. */
static _Noreturn void be_daemon(const struct view *v, int argc, char *argv[], int ready, int life)
{
	struct session_life own = {
		.ready_fd = 3, .life_fd = 4, .hide = v->hide, .private_dir = v->private_dir};
	int r;

	/* Neither is in the way of the other. */
	ready = fcntl(ready, F_DUPFD, 5);
	life = fcntl(life, F_DUPFD, 5);
	if (ready == -1 || life == -1 || dup3(ready, 3, O_CLOEXEC) == -1 ||
	    dup3(life, 4, O_CLOEXEC) == -1)
		err(1, NULL);
	closefrom(5);
	setsid();
	job_restore_signals();
	r = make_place(v);
	if (r != 0)
		errc(1, -r, "cannot make a namespace for the mount");
	exit(session_serve(argc, argv, &own));
}

int view_start(struct view *v, int argc, char *argv[])
{
	int ready[2], life[2];
	ssize_t n;

	if (pipe2(ready, O_CLOEXEC) == -1 || pipe2(life, O_CLOEXEC) == -1) {
		warn(NULL);
		return -1;
	}
	v->mountpoint = argv[argc - 1];
	v->pid = fork();
	if (v->pid == 0) {
		close(life[1]);
		be_daemon(v, argc, argv, ready[1], life[0]);
	}
	if (v->pid == -1)
		warn("fork");
	close(ready[1]);
	close(life[0]);
	v->life = life[1];
	do
		n = v->pid == -1 ? 0 : read(ready[0], &v->dev, sizeof(v->dev));
	while (n == -1 && errno == EINTR);
	close(ready[0]);
	if (n == sizeof(v->dev))
		return 0;
	view_end(v);
	return -1;
}

void view_detach(struct view *v)
{
	if (v->life != -1 && write(v->life, "", 1) == -1)
		warn("mount point %s", v->mountpoint);
}

bool view_end(struct view *v)
{
	int status = 0;

	if (v->life != -1)
		close(v->life);
	v->life = -1;
	if (v->pid > 0)
		while (waitpid(v->pid, &status, 0) == -1 && errno == EINTR)
			;
	v->pid = 0;
	return !WIFSIGNALED(status);
}

/* Namespaces. */

int view_join(pid_t pid)
{
	/* A user namespace comes first, as it gives the right to enter the others. */
	static const char *const names[] = {"user", "net", "pid", "mnt"};
	int fd[4] = {-1, -1, -1, -1}, r = 0;
	char path[64];

	for (unsigned i = 0; i < 4 && r == 0; i++) {
		struct stat own, other;

		snprintf(path, sizeof(path), "/proc/self/ns/%s", names[i]);
		if (stat(path, &own) == -1)
			continue; /* the kernel knows no such namespace */
		snprintf(path, sizeof(path), "/proc/%ld/ns/%s", (long)pid, names[i]);
		fd[i] = open(path, O_RDONLY | O_CLOEXEC);
		if (fd[i] == -1 || fstat(fd[i], &other) == -1) {
			r = -errno;
		} else if (own.st_ino == other.st_ino && own.st_dev == other.st_dev) {
			close(fd[i]);
			fd[i] = -1;
		}
	}
	for (unsigned i = 0; i < 4; i++) {
		if (fd[i] == -1)
			continue;
		if (r == 0 && setns(fd[i], 0) == -1)
			r = -errno;
		close(fd[i]);
	}
	return r;
}

int view_enter(const struct view *v)
{
	return v->place == VIEW_FUSERMOUNT ? 0 : view_join(v->pid);
}
