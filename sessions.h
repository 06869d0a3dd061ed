/* SPDX-License-Identifier: ISC */
/*
 * sessions: the directories that the state of runs is kept in; see state.h.
 */
#ifndef SESSIONS_H
#define SESSIONS_H

#include "state.h"

struct session {
	char *name;
	char *dir;
	int fd;	   /* the directory, or -1 */
	bool made; /* it was not there before */
	struct state state;
};

/*
 * The directory of all sessions and those above it are made when they are not
 * there. Returns it, malloc'ed, or NULL after one line on standard error.
 */
char *sessions_home(void);

/*
 * Make a session, or open the one of that name; without a name, one that is
 * like the command's is found. lower: what a new one has below; NULL for one
 * that must exist. 0, or -1 after one line on standard error.
 */
int sessions_open(struct session *s, const char *name, char *const lower[], unsigned nlower,
		  char *const command[]);

/* Open the session in a directory. */
int sessions_open_dir(struct session *s, const char *dir);

/* Write the state. Failures are told, and change nothing else. */
void sessions_save(const struct session *s);

/* Remove it from the disk. 0, or -1 after one line on standard error. */
int sessions_remove(const struct session *s);
void sessions_close(struct session *s);

/* The commands. They return the exit status. */
int sessions_list(int argc, char *argv[]);
int sessions_discard(int argc, char *argv[]);

#endif
