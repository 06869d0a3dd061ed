/* SPDX-License-Identifier: ISC */
/*
 * The command "diff". It only reads: the target may be mounted and in use.
 */
#include "diff.h"

#include <err.h>
#include <getopt.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "options.h"
#include "show.h"

#define USAGE                                                                                      \
	"diff [--stat | --names | --patch | --json | -0] [--times] [--filter-file FILE] "          \
	"[--exclude GLOB] [--include GLOB] TARGET"

enum { STAT = 0x100, NAMES, PATCH, JSON, TIMES };

static const struct option options[] = {
	{"stat", no_argument, NULL, STAT},
	{"names", no_argument, NULL, NAMES},
	{"patch", no_argument, NULL, PATCH},
	{"json", no_argument, NULL, JSON},
	{"null", no_argument, NULL, '0'},
	{"times", no_argument, NULL, TIMES},
	FILTER_OPTIONS,
	{0},
};

struct request {
	struct target t;
	struct filter filter;
	enum show_format format;
	unsigned flags;
};

static int parse(struct request *q, int argc, char *argv[])
{
	int c;

	argv[0] = (char *)"overlayfs diff";
	while ((c = getopt_long(argc, argv, "0" TARGETS_OPTIONS, options, NULL)) != -1) {
		int r = 0;

		switch (c) {
		case STAT:
			q->format = SHOW_STAT;
			break;
		case NAMES:
			q->format = SHOW_NAMES;
			break;
		case PATCH:
			q->format = SHOW_PATCH;
			break;
		case JSON:
			q->format = SHOW_JSON;
			break;
		case '0':
			q->format = SHOW_NUL;
			break;
		case TIMES:
			q->flags |= CHANGES_TIMES;
			break;
		case '?':
			return -1;
		default:
			r = c >= FILTER_EXCLUDE ? filter_option(&q->filter, c, optarg)
						: targets_option(&q->t, c, optarg);
		}
		if (r != 0)
			return -1;
	}
	return targets_from_args(&q->t, argc - optind, argv + optind, USAGE);
}

/* Let a pager show what comes, when somebody looks; its process or -1. */
static pid_t start_pager(enum show_format format)
{
	const char *pager = getenv("PAGER");
	int pipefd[2];
	pid_t pid;

	if (!isatty(STDOUT_FILENO) || format == SHOW_NUL || format == SHOW_JSON)
		return -1;
	if (pager == NULL || *pager == '\0')
		pager = "less";
	if (strcmp(pager, "cat") == 0 || pipe(pipefd) == -1)
		return -1;
	pid = fork();
	if (pid == 0) {
		dup2(pipefd[0], STDIN_FILENO);
		close(pipefd[0]);
		close(pipefd[1]);
		setenv("LESS", "FRX", 0);
		execl("/bin/sh", "sh", "-c", pager, (char *)NULL);
		_exit(127);
	}
	if (pid != -1)
		dup2(pipefd[1], STDOUT_FILENO);
	close(pipefd[0]);
	close(pipefd[1]);
	return pid;
}

static int show(struct request *q, const struct changes *c)
{
	struct show s = {&q->t, stdout, q->format, false};
	const char *path, *no_colour = getenv("NO_COLOR");
	pid_t pager;
	int r;

	s.colour = isatty(STDOUT_FILENO) && (no_colour == NULL || *no_colour == '\0');
	pager = start_pager(q->format);
	r = show_changes(&s, c, &path);
	if (fflush(stdout) == EOF && r == 0 && pager == -1) {
		warn("standard output");
		return 1;
	}
	if (pager != -1) {
		close(STDOUT_FILENO);
		waitpid(pager, NULL, 0);
	}
	if (r != 0)
		warnc(-r, "%s: %s", q->t.label, options_show(path));
	return r != 0;
}

int diff_command(int argc, char *argv[])
{
	struct request q = {.format = SHOW_LIST};
	struct changes c = {0};
	int status = 1, r;

	if (parse(&q, argc, argv) == 0 && targets_open(&q.t, TARGET_READ) == 0) {
		r = changes_collect(&q.t, q.flags, &c);
		if (r != 0) {
			warnc(-r, "%s: %s", q.t.label,
			      options_show(c.failed != NULL ? c.failed : "/"));
		} else {
			changes_filter(&c, &q.filter);
			signal(SIGPIPE, SIG_DFL);
			status = show(&q, &c);
		}
		changes_destroy(&c);
	}
	filter_destroy(&q.filter);
	targets_close(&q.t);
	return status;
}
