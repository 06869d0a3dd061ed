/* SPDX-License-Identifier: ISC */
/*
 * proot changes the paths in the system calls that it knows. Those that it
 * does not know would reach the real files, so they are taken away by a
 * filter: programs and the C library do without them. proot has no exit status
 * of its own for a command that is not there, so that is looked at before.
 */
#include "proot.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <linux/filter.h>
#include <linux/openat2.h>
#include <linux/seccomp.h>

static const int unknown[] = {
#ifdef SYS_fchmodat2
	SYS_fchmodat2,
#endif
	SYS_statx,
	SYS_openat2,
	SYS_faccessat2,
	SYS_renameat2,
	SYS_execveat,
	SYS_clone3,
	SYS_open_tree,
	SYS_move_mount,
	SYS_fspick,
	SYS_mount_setattr,
	SYS_fsopen,
	SYS_io_uring_setup,
	SYS_name_to_handle_at,
	SYS_open_by_handle_at,
	SYS_fanotify_mark,
};
enum { NUNKNOWN = sizeof(unknown) / sizeof(unknown[0]) };

static int filter_calls(void)
{
	struct sock_filter code[2 * NUNKNOWN + 2] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr))};
	struct sock_fprog program = {.filter = code};
	unsigned short n = 1;

	for (unsigned i = 0; i < NUNKNOWN; i++) {
		code[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K,
							 (unsigned)unknown[i], 0, 1);
		code[n++] =
			(struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS);
	}
	code[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
	program.len = n;
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == -1 ||
	    prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == -1)
		return -errno;
	return 0;
}

/* Whether a path of the sandbox is not in the view. */
static bool passed(const struct sandbox *s, const char *path)
{
	static const char *const real[] = {"/proc", "/dev", "/sys"};
	size_t len;

	for (unsigned i = 0; i < 3 + s->npass; i++) {
		const char *top = i < 3 ? real[i] : s->pass[i - 3];

		len = strlen(top);
		if (strncmp(path, top, len) == 0 && (path[len] == '/' || path[len] == '\0'))
			return true;
	}
	return false;
}

/* Whether the file can be executed: links in the view lead nowhere else. */
static int check(const struct sandbox *s, int root, const char *dir, const char *name)
{
	struct open_how how = {.flags = O_PATH | O_CLOEXEC, .resolve = RESOLVE_IN_ROOT};
	struct stat st;
	char proc[64], *path;
	int fd, r = 0;

	if (asprintf(&path, "%s/%s", name[0] == '/' ? "" : dir, name) == -1)
		return -ENOMEM;
	if (passed(s, path)) {
		free(path);
		return 0;
	}
	fd = (int)syscall(SYS_openat2, root, path, &how, sizeof(how));
	free(path);
	if (fd == -1)
		return errno == ENOSYS ? 0 : -errno;
	snprintf(proc, sizeof(proc), "/proc/self/fd/%d", fd);
	if (fstat(fd, &st) == -1 || !S_ISREG(st.st_mode) || access(proc, X_OK) == -1)
		r = -EACCES;
	close(fd);
	return r;
}

static int find(const struct sandbox *s, const char *name)
{
	int root = open(s->view->mountpoint, O_PATH | O_DIRECTORY | O_CLOEXEC);
	const char *path = getenv("PATH");
	char *list, *p, *dir;
	int r = -ENOENT, one;

	if (root == -1)
		return -errno;
	if (strchr(name, '/') != NULL) {
		r = check(s, root, s->cwd, name);
		close(root);
		return r;
	}
	list = p = strdup(path != NULL ? path : "/bin:/usr/bin");
	while (r != 0 && p != NULL && (dir = strsep(&p, ":")) != NULL) {
		one = check(s, root, *dir == '\0' ? s->cwd : dir, name);
		if (one == 0 || one == -EACCES)
			r = one;
	}
	free(list);
	close(root);
	return r;
}

int proot_exec(const struct sandbox *s, char *argv[])
{
	unsigned n = 0, count = 0;
	char **all;
	int r = find(s, argv[0]);

	if (r != 0)
		return r;
	while (argv[count] != NULL)
		count++;
	all = calloc(16 + 2 * (size_t)s->npass + count, sizeof(*all));
	if (all == NULL)
		return -ENOMEM;
	all[n++] = (char *)(uintptr_t) "proot";
	all[n++] = (char *)(uintptr_t) "-v"; /* say nothing of its own */
	all[n++] = (char *)(uintptr_t) "-1";
	if (s->root)
		all[n++] = (char *)(uintptr_t) "-0";
	all[n++] = (char *)(uintptr_t) "-r";
	all[n++] = s->view->mountpoint;
	all[n++] = (char *)(uintptr_t) "-w";
	all[n++] = (char *)(uintptr_t)s->cwd;
	for (unsigned i = 0; i < 3 + s->npass; i++) {
		static const char *const real[] = {"/proc", "/dev", "/sys"};

		all[n++] = (char *)(uintptr_t) "-b";
		all[n++] = i < 3 ? (char *)(uintptr_t)real[i] : s->pass[i - 3];
	}
	for (unsigned i = 0; i < count; i++)
		all[n++] = argv[i];
	r = filter_calls();
	if (r == 0 && ptrace(PTRACE_TRACEME, 0, NULL, NULL) == 0 && raise(SIGSTOP) == 0)
		execvp("proot", all);
	r = r == 0 ? -errno : r;
	free(all);
	return r;
}

/* The start. */

pid_t proot_follow(pid_t proot, int *status)
{
	const long options = PTRACE_O_TRACEEXEC | PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK |
			     PTRACE_O_TRACECLONE | PTRACE_O_EXITKILL;
	unsigned long child, signal;
	bool begun = false; /* by its own SIGSTOP */
	int event;

	for (;;) {
		while (waitpid(proot, status, 0) == -1)
			if (errno != EINTR)
				return -1;
		if (!WIFSTOPPED(*status))
			return -1;
		event = *status >> 16;
		if (event != 0 && event != PTRACE_EVENT_EXEC &&
		    ptrace(PTRACE_GETEVENTMSG, proot, NULL, &child) == 0)
			break;
		signal = event != 0 ? 0 : (unsigned long)WSTOPSIG(*status);
		if (!begun)
			ptrace(PTRACE_SETOPTIONS, proot, NULL, options);
		if (!begun && signal == SIGSTOP) {
			begun = true;
			signal = 0;
		}
		ptrace(PTRACE_CONT, proot, NULL, signal);
	}
	while (waitpid((pid_t)child, NULL, __WALL) == -1 && errno == EINTR)
		;
	return (pid_t)child;
}

void proot_let_go(pid_t proot, pid_t command)
{
	ptrace(PTRACE_DETACH, command, NULL, NULL);
	ptrace(PTRACE_DETACH, proot, NULL, NULL);
}

/* The end. */

/* Kill those that pid traces; whether there were any. */
static bool kill_traced(DIR *proc, pid_t pid)
{
	char path[280], line[256];
	struct dirent *d;
	bool any = false;

	rewinddir(proc);
	while ((d = readdir(proc)) != NULL) {
		long tracer = 0;
		FILE *f;

		if (d->d_name[0] < '1' || d->d_name[0] > '9')
			continue;
		snprintf(path, sizeof(path), "/proc/%s/status", d->d_name);
		f = fopen(path, "re");
		while (f != NULL && tracer == 0 && fgets(line, sizeof(line), f) != NULL)
			// NOLINTNEXTLINE(cert-err34-c): the kernel wrote it
			if (sscanf(line, "TracerPid: %ld", &tracer) == 1)
				break;
		if (f != NULL)
			fclose(f);
		if (tracer == pid && kill((pid_t)strtol(d->d_name, NULL, 10), SIGKILL) == 0)
			any = true;
	}
	return any;
}

/* Linux 6.15. Older headers do not have it. */
struct info {
	uint64_t mask, cgroup;
	uint32_t ids[11];
	int32_t exit_code;
};

enum { INFO_EXIT = 1 << 3 };
#define GET_INFO _IOWR(0xFF, 11, struct info)

/* The signal that has ended a process, once proot has waited for it; 0: none, or unknown. */
static int ended_by(int pidfd)
{
	for (int i = 0; pidfd != -1 && i < 1000; i++) {
		struct info info = {.mask = INFO_EXIT};

		if (ioctl(pidfd, GET_INFO, &info) == -1)
			return 0;
		if (info.mask & INFO_EXIT)
			return info.exit_code & 0x7f;
		poll(NULL, 0, 1);
	}
	return 0;
}

pid_t proot_guard(pid_t proot, pid_t command, int life, int other)
{
	int signal, fd = (int)syscall(SYS_pidfd_open, command, 0);
	struct pollfd ends[2] = {{.fd = life, .events = POLLIN}, {.fd = fd, .events = POLLIN}};
	pid_t pid = fork();
	DIR *proc;

	if (pid != 0) {
		if (fd != -1)
			close(fd);
		return pid;
	}
	close(other);
	setsid();
	poll(ends, 2, -1);
	proc = opendir("/proc");
	for (int i = 0; proc != NULL && i < 1000 && kill_traced(proc, proot); i++)
		poll(NULL, 0, 1); /* they take a moment to die */
	signal = ended_by(fd);
	/* It ends by itself then, with the command's status, unless it is told to. */
	poll(&(struct pollfd){.fd = life, .events = POLLIN}, 1, -1);
	kill(proot, SIGKILL);
	_exit(signal);
}
