/* SPDX-License-Identifier: ISC */
/*
 * state: the file that says what a session is.
 *
 * A session is a directory, by default $XDG_STATE_HOME/overlayfs/NAME (or
 * ~/.local/state/overlayfs/NAME), of mode 0700, with
 *
 *	upper/	the upper; the work directory lies in it, as by default
 *	work/	the work directory where the upper lies in another overlay, whose
 *		names cannot begin with `.wh.`; its whiteouts are attributes then
 *	session	this file
 *
 * The file has one `key value` a line. In a value a control byte, '%' and what
 * is no ASCII is written as %XX. Keys that are not known are skipped:
 *
 *	format 1
 *	lower PATH	absolute; one line each, top first
 *	command ARG	one line for each word
 *	cwd PATH	where the command was started
 *	created SECONDS	since 1970
 *	status N	exit status of the command, when it has ended
 *	mounts single	the lowers without what is mounted in them ("whole" is usual)
 */
#ifndef STATE_H
#define STATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#define STATE_FILE "session"
#define STATE_UPPER "upper"
#define STATE_WORK "work"

/* All strings are malloc'ed and belong to the struct. Zero is an empty state. */
struct state {
	char **lower;
	unsigned nlower;
	char **command;
	unsigned ncommand;
	char *cwd; /* or NULL */
	long long created;
	int status; /* -1: not known */
	bool single;
};

/*
 * Read the file `session` of the directory dirfd. -EINVAL: it is not one of
 * ours, or of a later format. state_destroy is legal after an error.
 */
int state_read(int dirfd, struct state *s);

/* Write it, whole or not at all. */
int state_write(int dirfd, const struct state *s);

void state_destroy(struct state *s);

/* Add a copy of text to a list of the struct. 0 or -ENOMEM. */
int state_add(char ***list, unsigned *n, const char *text);

/* The directory of all sessions, malloc'ed; NULL with errno when no home is known. */
char *state_home(void);

/* Whether name may be a session's: one component, no '.' in front, printable. */
bool state_name_ok(const char *name);

/* Open a file of the directory dirfd for reading. 0 or -errno. */
int state_open(int dirfd, const char *name, FILE **f);

/*
 * Write a file whole or not at all: state_begin opens it by a name for the time
 * being, state_end flushes it to the disk, closes it and gives it the final one.
 */
int state_begin(int dirfd, const char *name, FILE **f);
int state_end(int dirfd, const char *name, const char *final, FILE *f);

/* Write text with %XX in the place of bytes that need it; -1 on a write error. */
int state_encode(FILE *f, const char *text);

/* Undo that, in place; false when the text is malformed. */
bool state_decode(char *text);

#endif
