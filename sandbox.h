/* SPDX-License-Identifier: ISC */
/*
 * sandbox: a mounted view as the file system of a command.
 *
 *  - bwrap makes namespaces in which the view is the root directory, with the
 *    real /dev and /sys, and the /proc of a process namespace of their own.
 *    bwrap only makes and holds them: its own command never runs. The caller's
 *    command enters them as a child of the caller's, with nothing in between
 *    that could lose a signal, a stop or an exit status. All processes in there
 *    are killed when bwrap is, and bwrap is when the caller ends.
 *  - proot changes the paths in each system call of the command.
 *  - none: the command starts in a directory of the view.
 */
#ifndef SANDBOX_H
#define SANDBOX_H

#include "view.h"

enum sandbox_kind { SANDBOX_AUTO, SANDBOX_BWRAP, SANDBOX_PROOT, SANDBOX_NONE };

/* Zero, but for what the user wants and life = -1, before sandbox_start. */
struct sandbox {
	enum sandbox_kind kind;
	const struct view *view;
	char **pass; /* paths that are not the view's, without links in them */
	unsigned npass;
	bool no_net;
	bool root;	 /* the command appears as uid 0 */
	const char *cwd; /* absolute, in the view */

	pid_t monitor; /* bwrap, or what watches over proot */
	int signal;    /* after sandbox_end: what has ended a command of proot, or 0 */
	pid_t init;    /* bwrap's process in the sandbox */
	int life;      /* all of it ends when this is closed */
};

/* Whether there is a proot. */
bool sandbox_has_proot(void);

/*
 * Make the sandbox. 0, -1 after one line on standard error, or -ENOSYS with
 * *why: the machine allows no namespaces to the caller.
 */
int sandbox_start(struct sandbox *s, const char **why);

/*
 * Start a command in it. Returns the process, a child of ours, or -1 after one
 * line on standard error; then *status is what env(1) would exit with.
 */
pid_t sandbox_spawn(struct sandbox *s, char *argv[], int *status);

/* Kill what is left in it. */
void sandbox_end(struct sandbox *s);

#endif
