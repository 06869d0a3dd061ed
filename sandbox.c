/* SPDX-License-Identifier: ISC */
/*
 * Building the command lines of bwrap and proot, and entering what they make.
 */
#include "sandbox.h"

#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#include "job.h"
#include "options.h"
#include "proot.h"
#include "stack.h"

/* bwrap. */

struct arguments {
	FILE *f;
	int fd;
};

/* Arguments go through a file: the sandbox can read bwrap's command line. */
static int arguments_open(struct arguments *a)
{
	a->fd = memfd_create("arguments", 0);
	a->f = a->fd == -1 ? NULL : fdopen(dup(a->fd), "w");
	return a->f == NULL ? -errno : 0;
}

static void argument(struct arguments *a, const char *text)
{
	fwrite(text, strlen(text) + 1, 1, a->f);
}

static void bind_path(struct arguments *a, const char *from, const char *to)
{
	argument(a, "--dev-bind");
	argument(a, from);
	argument(a, to);
}

static int arguments_close(struct arguments *a)
{
	int r = ferror(a->f) ? -EIO : 0;

	if (fclose(a->f) == EOF)
		r = -errno;
	lseek(a->fd, 0, SEEK_SET);
	return r;
}

static void bwrap_arguments(struct arguments *a, const struct sandbox *s)
{
	argument(a, "--die-with-parent");
	argument(a, "--unshare-pid");
	if (s->no_net)
		argument(a, "--unshare-net");
	if (s->root && geteuid() != 0) {
		argument(a, "--unshare-user");
		argument(a, "--uid");
		argument(a, "0");
		argument(a, "--gid");
		argument(a, "0");
	}
	bind_path(a, s->view->mountpoint, "/");
	argument(a, "--proc");
	argument(a, "/proc");
	bind_path(a, "/dev", "/dev");
	bind_path(a, "/sys", "/sys");
	for (unsigned i = 0; i < s->npass; i++)
		bind_path(a, s->pass[i], s->pass[i]);
}

struct pipes {
	int info[2];
	int block[2];
	int errors[2];
};

/* In the child process: become bwrap, out of the reach of the terminal. */
static _Noreturn void exec_bwrap(const struct sandbox *s, struct pipes *p, int arguments)
{
	char args[16], block[16], info[16];
	pid_t parent = getppid();
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	int r = view_enter(s->view);

	if (r != 0)
		errc(125, -r, "cannot enter the namespace of the mount");
	/* Children that are given to bwrap's process 1 vanish when they end. */
	job_restore_signals();
	signal(SIGCHLD, SIG_IGN);
	setsid();
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	/* Installed set-user-ID, bwrap would make namespaces that belong to root. */
	if (geteuid() != 0)
		prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	if (getppid() != parent)
		_exit(125);
	dup2(null, STDIN_FILENO);
	dup2(null, STDOUT_FILENO);
	dup2(p->errors[1], STDERR_FILENO);
	fcntl(p->block[0], F_SETFD, 0);
	fcntl(p->info[1], F_SETFD, 0);
	snprintf(args, sizeof(args), "%d", arguments);
	snprintf(block, sizeof(block), "%d", p->block[0]);
	snprintf(info, sizeof(info), "%d", p->info[1]);
	execlp("bwrap", "bwrap", "--args", args, "--block-fd", block, "--info-fd", info, "--", "/",
	       (char *)NULL);
	warn("bwrap");
	_exit(125);
}

/* All there is to read, as a string. */
static void read_text(int fd, char *text, size_t size)
{
	size_t len = 0;
	ssize_t n;

	while (len < size - 1 &&
	       ((n = read(fd, text + len, size - 1 - len)) > 0 || (n == -1 && errno == EINTR)))
		len += n > 0 ? (size_t)n : 0;
	text[len] = '\0';
}

/* What bwrap says of itself: {"child-pid": N, ...}. */
static pid_t read_info(int fd)
{
	char text[1024];
	const char *p;

	read_text(fd, text, sizeof(text));
	p = strstr(text, "\"child-pid\":");
	return p == NULL ? 0 : (pid_t)strtol(p + strlen("\"child-pid\":"), NULL, 10);
}

/*
 * Whether a process has the view as its root and nothing of bwrap's scaffold
 * is left. It is done then but for a chdir("/").
 */
static bool is_ready(FILE *f, dev_t dev)
{
	char *line = NULL;
	char where[256];
	unsigned major, minor;
	size_t size = 0;
	int roots = 0;
	bool ours = false;

	while (getline(&line, &size, f) != -1) {
		// NOLINTNEXTLINE(cert-err34-c): the kernel wrote it
		if (sscanf(line, "%*s %*s %u:%u %*s %255s", &major, &minor, where) != 3 ||
		    strcmp(where, "/") != 0)
			continue;
		roots++;
		ours = makedev(major, minor) == dev;
	}
	free(line);
	return roots == 1 && ours;
}

/*
 * Wait until bwrap has made everything; -ECHILD when it has given up, -EINTR when
 * a signal wants the end. The list
 * is seen from the root directory that the process has when it is opened.
 */
static int wait_ready(const struct sandbox *s, int errors)
{
	char path[64];
	struct pollfd p[2] = {[1] = {.fd = errors, .events = POLLIN}};
	bool ready = false;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%ld/mountinfo", (long)s->init);
	while (!ready && p[1].revents == 0 && !job_interrupted()) {
		f = s->init == 0 ? NULL : fopen(path, "re");
		if (f == NULL)
			return -ECHILD;
		ready = is_ready(f, s->view->dev);
		p[0] = (struct pollfd){.fd = fileno(f), .events = POLLPRI};
		if (!ready)
			poll(p, 2, 10); /* not every step is an event */
		fclose(f);
	}
	return ready ? 0 : job_interrupted() ? -EINTR : -ECHILD;
}

/* One line of what bwrap says, without its name. Kept until the next call. */
static const char *complaint(int fd)
{
	static char text[1024];

	read_text(fd, text, sizeof(text));
	text[strcspn(text, "\n")] = '\0';
	if (text[0] == '\0')
		strlcpy(text, "it ended without a word", sizeof(text));
	return strncmp(text, "bwrap: ", 7) == 0 ? text + 7 : text;
}

/* Whether the caller may make namespaces, or the machine forbids it. */
static bool may_unshare(void)
{
	pid_t pid = fork();
	int status;

	if (pid == 0)
		_exit(unshare(geteuid() == 0 ? CLONE_NEWNS : CLONE_NEWUSER) == 0 ? 0 : 1);
	return pid == -1 || (waitpid(pid, &status, 0) == pid && status == 0);
}

static int start_bwrap(struct sandbox *s, const char **why)
{
	struct arguments a;
	struct pipes p;
	int r = arguments_open(&a);

	if (r != 0 || pipe2(p.info, O_CLOEXEC) == -1 || pipe2(p.block, O_CLOEXEC) == -1 ||
	    pipe2(p.errors, O_CLOEXEC) == -1) {
		warn("bwrap");
		return -1;
	}
	bwrap_arguments(&a, s);
	r = arguments_close(&a);
	s->monitor = r == 0 ? fork() : -1;
	if (s->monitor == 0)
		exec_bwrap(s, &p, a.fd);
	close(a.fd);
	close(p.info[1]);
	close(p.block[0]);
	close(p.errors[1]);
	s->life = p.block[1];
	s->init = read_info(p.info[0]);
	close(p.info[0]);
	r = wait_ready(s, p.errors[0]);
	if (r == -EINTR) {
		sandbox_end(s);
	} else if (r != 0) {
		*why = complaint(p.errors[0]);
		sandbox_end(s);
		r = may_unshare() ? -1 : -ENOSYS;
		if (r == -1)
			warnx("bwrap: %s", *why);
	}
	close(p.errors[0]);
	return r;
}

bool sandbox_has_proot(void)
{
	return stack_find_program("proot");
}

int sandbox_start(struct sandbox *s, const char **why)
{
	if (s->kind == SANDBOX_PROOT && !sandbox_has_proot()) {
		warnx("proot: not found; apt-get install proot");
		return -1;
	}
	if (s->kind != SANDBOX_BWRAP)
		return 0;
	if (!stack_find_program("bwrap")) {
		warnx("bwrap: not found; apt-get install bubblewrap, or --sandbox=proot");
		return -1;
	}
	return start_bwrap(s, why);
}

void sandbox_end(struct sandbox *s)
{
	int status = 0;

	if (s->init > 0)
		kill(s->init, SIGKILL);
	if (s->life != -1)
		close(s->life);
	if (s->monitor > 0) {
		if (s->kind == SANDBOX_BWRAP)
			kill(s->monitor, SIGKILL);
		while (waitpid(s->monitor, &status, 0) == -1 && errno == EINTR)
			;
	}
	if (s->kind == SANDBOX_PROOT && WIFEXITED(status))
		s->signal = WEXITSTATUS(status);
	s->init = s->monitor = 0;
	s->life = -1;
}

/* The command. */

/* How far it came: what is told to the caller when it does not run. */
enum stage { STAGE_ENTER, STAGE_CWD, STAGE_EXEC };

struct failure {
	enum stage stage;
	int error;
};

static _Noreturn void give_up(int fd, enum stage stage, int error)
{
	struct failure f = {stage, error};

	if (write(fd, &f, sizeof(f)) == -1)
		_exit(125);
	_exit(125);
}

static int enter(const struct sandbox *s)
{
	return s->kind == SANDBOX_BWRAP ? view_join(s->init) : view_enter(s->view);
}

/* The new process, in the namespaces already: become the command. */
static _Noreturn void become(const struct sandbox *s, char *argv[], int errors)
{
	char *cwd = (char *)(uintptr_t)s->cwd;
	int r;

	job_restore_signals();
	if (geteuid() != 0)
		prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	if (s->kind == SANDBOX_NONE && asprintf(&cwd, "%s%s", s->view->mountpoint, s->cwd) == -1)
		give_up(errors, STAGE_CWD, ENOMEM);
	if (s->kind == SANDBOX_PROOT) {
		r = proot_exec(s, argv);
		give_up(errors, STAGE_EXEC, -r);
	}
	if (chdir(cwd) == -1)
		give_up(errors, STAGE_CWD, errno);
	execvp(argv[0], argv);
	give_up(errors, STAGE_EXEC, errno);
}

/*
 * An intermediate process enters the namespaces, as only what it starts then is
 * in the process namespace; CLONE_PARENT makes that a child of ours.
 */
static _Noreturn void intermediate(const struct sandbox *s, char *argv[], int pids, int errors)
{
	int r = enter(s);
	pid_t pid;

	if (r != 0)
		give_up(errors, STAGE_ENTER, -r);
	pid = (pid_t)syscall(SYS_clone, CLONE_PARENT | SIGCHLD, 0, 0, 0, 0);
	if (pid == 0)
		become(s, argv, errors);
	if (pid == -1)
		give_up(errors, STAGE_ENTER, errno);
	_exit(write(pids, &pid, sizeof(pid)) == sizeof(pid) ? 0 : 1);
}

static int explain(const struct sandbox *s, char *argv[], const struct failure *f)
{
	switch (f->stage) {
	case STAGE_ENTER:
		warnc(f->error, "cannot enter the sandbox");
		return 125;
	case STAGE_CWD:
		warnc(f->error, "directory %s", options_show(s->cwd));
		return 125;
	default:
		warnc(f->error, "%s", options_show(argv[0]));
		return f->error == ENOENT ? 127 : 126;
	}
}

static ssize_t read_all(int fd, void *buf, size_t size)
{
	ssize_t n;

	do
		n = read(fd, buf, size);
	while (n == -1 && errno == EINTR);
	return n;
}

static int guard(struct sandbox *s, pid_t proot, pid_t command)
{
	int life[2];

	if (pipe2(life, O_CLOEXEC) == -1)
		return -1;
	s->monitor = proot_guard(proot, command, life[0], life[1]);
	close(life[0]);
	s->life = life[1];
	return s->monitor == -1 ? -1 : 0;
}

/* Let proot start the command, watched over. False: it has ended, with *status. */
static bool start_proot(struct sandbox *s, pid_t proot, int *status)
{
	int ended = 125 << 8;
	pid_t command = proot_follow(proot, &ended);

	if (command == -1) {
		*status = WIFEXITED(ended) ? WEXITSTATUS(ended) : 128 + WTERMSIG(ended);
		return false;
	}
	if (guard(s, proot, command) != 0) {
		warn("proot");
		kill(command, SIGKILL);
		kill(proot, SIGKILL);
		waitpid(proot, NULL, 0);
		return false;
	}
	proot_let_go(proot, command);
	return true;
}

pid_t sandbox_spawn(struct sandbox *s, char *argv[], int *status)
{
	struct failure f;
	int pids[2], errors[2];
	pid_t helper, pid = -1;

	*status = 125;
	if (pipe2(pids, O_CLOEXEC) == -1 || pipe2(errors, O_CLOEXEC) == -1) {
		warn(NULL);
		return -1;
	}
	helper = fork();
	if (helper == 0)
		intermediate(s, argv, pids[1], errors[1]);
	if (helper == -1)
		warn("fork");
	close(pids[1]);
	close(errors[1]);
	if (read_all(pids[0], &pid, sizeof(pid)) != sizeof(pid))
		pid = -1;
	if (helper != -1)
		while (waitpid(helper, NULL, 0) == -1 && errno == EINTR)
			;
	if (pid != -1 && s->kind == SANDBOX_PROOT && !start_proot(s, pid, status))
		pid = -1;
	if (read_all(errors[0], &f, sizeof(f)) == sizeof(f)) {
		*status = explain(s, argv, &f);
		if (pid != -1)
			waitpid(pid, NULL, 0);
		pid = -1;
	}
	close(pids[0]);
	close(errors[0]);
	return pid;
}
