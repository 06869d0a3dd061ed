/* SPDX-License-Identifier: ISC */
/*
 * The end of a run. Standard output is the command's: what is said here goes
 * to standard error. The other commands are run in a process of their own.
 */
#include "ending.h"

#include <err.h>
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "changes.h"
#include "commit.h"
#include "diff.h"
#include "options.h"

/* The name by which other commands find it. */
static const char *target_name(const struct ended *e)
{
	char *dir = targets_session(e->session->name);
	bool known = dir != NULL && strcmp(dir, e->session->dir) == 0;

	free(dir);
	return known ? e->session->name : e->session->dir;
}

static unsigned add_option(char *argv[], unsigned n, char option, const char *value)
{
	static char names[][3] = {"-l", "-u", "-w"};

	argv[n++] = names[option == 'l' ? 0 : option == 'u' ? 1 : 2];
	argv[n++] = (char *)(uintptr_t)value;
	return n;
}

/* Run another command of ours on what there is. Returns its exit status. */
static int call(const struct ended *e, int (*command)(int argc, char *argv[]), const char *option)
{
	char **argv = calloc(2 * (size_t)e->nlower + 8, sizeof(*argv));
	unsigned n = 1;
	int status = 0;
	pid_t pid;

	if (argv == NULL)
		return 1;
	argv[0] = (char *)(uintptr_t) "overlayfs";
	if (option != NULL)
		argv[n++] = (char *)(uintptr_t)option;
	if (e->session != NULL) {
		argv[n++] = (char *)(uintptr_t) "--";
		argv[n++] = (char *)(uintptr_t)target_name(e);
	} else {
		for (unsigned i = 0; i < e->nlower; i++)
			n = add_option(argv, n, 'l', e->lower[i]);
		n = add_option(argv, n, 'u', e->upper);
		if (e->work != NULL)
			n = add_option(argv, n, 'w', e->work);
	}
	pid = fork();
	if (pid == 0) {
		dup2(STDERR_FILENO, STDOUT_FILENO);
		optind = 0;
		status = command((int)n, argv);
		free(argv);
		exit(status);
	}
	if (pid == -1)
		warn("fork");
	else
		while (waitpid(pid, &status, 0) == -1 && errno == EINTR)
			;
	free(argv);
	return pid == -1 ? 1 : WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}

/* How many changes there are, -1 after one line on standard error. */
static long count(const struct ended *e)
{
	struct target t = {0};
	struct changes c = {0};
	long n = -1;
	int r = 0;

	if (e->session != NULL) {
		r = targets_find(&t, target_name(e));
	} else {
		for (unsigned i = 0; i < e->nlower && r == 0; i++)
			r = targets_option(&t, 'l', e->lower[i]);
		if (r == 0)
			r = targets_option(&t, 'u', e->upper);
		if (r == 0 && e->work != NULL)
			r = targets_option(&t, 'w', e->work);
		if (r == 0)
			r = targets_find(&t, NULL);
	}
	if (r == 0 && targets_open(&t, TARGET_READ) == 0) {
		r = changes_collect(&t, 0, &c);
		if (r == 0)
			n = (long)c.n;
		else
			warnc(-r, "%s", options_show(c.failed != NULL ? c.failed : t.label));
	}
	changes_destroy(&c);
	targets_close(&t);
	return n;
}

static int keep(const struct ended *e, bool tell)
{
	if (e->quiet || !tell)
		return 0;
	if (e->session != NULL)
		warnx("kept as %s", options_show(target_name(e)));
	else
		warnx("kept in %s", options_show(e->upper));
	return 0;
}

static int discard(const struct ended *e)
{
	if (e->session != NULL)
		return sessions_remove(e->session);
	return call(e, sessions_discard, NULL) == 0 ? 0 : -1;
}

static int commit(const struct ended *e)
{
	if (call(e, commit_command, NULL) != 0) {
		keep(e, true);
		return -1;
	}
	return e->session != NULL ? sessions_remove(e->session) : 0;
}

/* The first letter of the answer, 'k' at the end of the terminal. */
static char ask(void)
{
	char *line = NULL, c = 'k';
	size_t size = 0, i = 0;
	FILE *tty = fopen("/dev/tty", "re");

	fputs("Commit, keep, discard, or show the patch? [c/k/d/p] ", stderr);
	if (tty != NULL && getline(&line, &size, tty) > 0) {
		i = strspn(line, " \t");
		c = line[i];
	} else {
		putc('\n', stderr);
	}
	free(line);
	if (tty != NULL)
		fclose(tty);
	return c;
}

static int ask_until_answered(const struct ended *e)
{
	long n = count(e);

	if (n == 0) {
		if (!e->quiet)
			warnx("no changes");
		return e->session != NULL && e->session->made && !e->named ? discard(e) : 0;
	}
	if (n < 0)
		return keep(e, true);
	call(e, diff_command, NULL);
	while (true) {
		switch (ask()) {
		case 'c':
		case 'C':
			return commit(e);
		case 'k':
		case 'K':
			return keep(e, true);
		case 'd':
		case 'D':
			return discard(e);
		case 'p':
		case 'P':
			call(e, diff_command, "--patch");
			break;
		default:
			break;
		}
	}
}

int ending_settle(const struct ended *e)
{
	bool terminal = isatty(STDIN_FILENO) && isatty(STDERR_FILENO);

	switch (e->ending) {
	case ENDING_COMMIT:
		return e->ok ? commit(e) : keep(e, true);
	case ENDING_DISCARD:
		return discard(e);
	case ENDING_KEEP:
		return keep(e, !e->named);
	case ENDING_ASK:
		if (!terminal && !e->quiet)
			warnx("no terminal to ask on");
		return terminal ? ask_until_answered(e) : keep(e, true);
	default:
		return terminal ? ask_until_answered(e) : keep(e, !e->named);
	}
}
