/* SPDX-License-Identifier: ISC */
/*
 * ending: what becomes of the changes when a command has ended.
 */
#ifndef ENDING_H
#define ENDING_H

#include "sessions.h"

/* DEFAULT: ask on a terminal, else keep. */
enum ending { ENDING_DEFAULT, ENDING_ASK, ENDING_COMMIT, ENDING_DISCARD, ENDING_KEEP };

struct ended {
	enum ending ending;
	const struct session *session; /* NULL: the layers were given */
	char *const *lower;
	unsigned nlower;
	const char *upper;
	const char *work; /* or NULL */
	bool named;	  /* the session's name was the user's choice */
	bool ok;	  /* the command has ended with 0 */
	bool quiet;
};

/* 0, or -1 after one line on standard error; then the session stays. */
int ending_settle(const struct ended *e);

#endif
