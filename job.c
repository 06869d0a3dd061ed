/* SPDX-License-Identifier: ISC */
/*
 * Signals are blocked and waited for, so that none can come between two steps.
 */
#include "job.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

/* Those that mean the command as much as us. */
static const int passed[] = {SIGHUP,  SIGINT,  SIGQUIT, SIGTERM, SIGUSR1,  SIGUSR2, SIGALRM,
			     SIGCONT, SIGTSTP, SIGTTIN, SIGTTOU, SIGWINCH, SIGPIPE};
enum { NPASSED = sizeof(passed) / sizeof(passed[0]) };

static struct {
	sigset_t waited; /* for those, and for children */
	sigset_t old;
	struct sigaction old_child;
	int tty; /* the controlling terminal, or -1 */
	bool foreground;
	struct termios modes;
	bool has_modes;
	sigset_t received;
} job = {.tty = -1};

void job_begin(void)
{
	struct sigaction child = {.sa_handler = SIG_DFL};

	sigemptyset(&job.waited);
	sigemptyset(&job.received);
	sigaddset(&job.waited, SIGCHLD);
	for (int i = 0; i < NPASSED; i++)
		sigaddset(&job.waited, passed[i]);
	sigprocmask(SIG_BLOCK, &job.waited, &job.old);
	sigaction(SIGCHLD, &child, &job.old_child);
	job.tty = open("/dev/tty", O_RDWR | O_NOCTTY | O_CLOEXEC);
	job.foreground = job.tty != -1 && tcgetpgrp(job.tty) == getpgrp();
	job.has_modes = job.foreground && tcgetattr(job.tty, &job.modes) == 0;
}

bool job_interrupted(void)
{
	static const int ending[] = {SIGHUP, SIGINT, SIGQUIT, SIGTERM};
	struct sigaction sa;
	sigset_t pending;

	sigpending(&pending);
	for (int i = 0; i < 4; i++)
		if (sigismember(&pending, ending[i]) == 1 && sigaction(ending[i], NULL, &sa) == 0 &&
		    sa.sa_handler != SIG_IGN)
			return true;
	return false;
}

void job_restore_signals(void)
{
	sigaction(SIGCHLD, &job.old_child, NULL);
	sigprocmask(SIG_SETMASK, &job.old, NULL);
}

void job_take_terminal(bool modes)
{
	/* SIGTTOU is blocked: this works from the background. */
	if (job.foreground && tcgetpgrp(job.tty) != getpgrp())
		tcsetpgrp(job.tty, getpgrp());
	if (modes && job.has_modes)
		tcsetattr(job.tty, TCSADRAIN, &job.modes);
}

/*
 * Stop as the command has stopped. SIGSTOP is what a shell uses to suspend
 * itself, but also what somebody may stop the command alone with, who would
 * not know that we are to be continued: that counts only on a terminal.
 */
static void stop_too(pid_t child, int signal)
{
	pid_t group = job.tty == -1 ? -1 : tcgetpgrp(job.tty);

	if (signal == SIGSTOP && (group == -1 || (group != getpgrp() && group != getpgid(child))))
		return;
	job_take_terminal(false);
	raise(SIGSTOP);
	/* A shell that suspended itself gets back what our caller gave to us. */
	if (group != -1 && group == getpgid(child) && tcgetpgrp(job.tty) == getpgrp())
		tcsetpgrp(job.tty, group);
	kill(child, SIGCONT);
}

/* What the kernel sends for the terminal has reached the command's group as well. */
static void pass(pid_t child, const siginfo_t *info)
{
	sigaddset(&job.received, info->si_signo);
	if (info->si_code == SI_KERNEL && getpgid(child) == getpgrp())
		return;
	kill(child, info->si_signo);
}

int job_wait(pid_t child, pid_t other)
{
	siginfo_t info;
	int status;
	pid_t pid;

	while (true) {
		pid = waitpid(child, &status, WNOHANG | WUNTRACED);
		if (pid == -1 && errno != EINTR)
			return -1;
		if (pid == child && WIFSTOPPED(status))
			stop_too(child, WSTOPSIG(status));
		else if (pid == child)
			return status;
		info.si_pid = 0;
		if (other > 0 &&
		    waitid(P_PID, (id_t)other, &info, WEXITED | WNOHANG | WNOWAIT) == 0 &&
		    info.si_pid == other)
			return -1;
		if (pid == 0 && sigwaitinfo(&job.waited, &info) > 0 && info.si_signo != SIGCHLD)
			pass(child, &info);
	}
}

int job_status(int status)
{
	struct rlimit none = {0, 0};
	struct sigaction action = {.sa_handler = SIG_DFL};
	sigset_t set;
	int n;

	if (!WIFSIGNALED(status))
		return WEXITSTATUS(status);
	n = WTERMSIG(status);
	if (sigismember(&job.received, n) == 1) {
		setrlimit(RLIMIT_CORE, &none);
		sigaction(n, &action, NULL);
		sigemptyset(&set);
		sigaddset(&set, n);
		raise(n);
		sigprocmask(SIG_UNBLOCK, &set, NULL);
	}
	return 128 + n;
}

void job_end(void)
{
	/* What came late must not end us in the middle of cleaning up. */
	job_restore_signals();
	if (job.tty != -1)
		close(job.tty);
	job.tty = -1;
}
