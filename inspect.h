/* SPDX-License-Identifier: ISC */
/*
 * inspect: what is wrong with the markers and the index of an upper.
 *
 * Nothing that is repaired changes the merged tree, at any moment.
 */
#ifndef INSPECT_H
#define INSPECT_H

#include "targets.h"

enum {
	INSPECT_WHITEOUTS = 1 << 0, /* that hide nothing, or are in an opaque directory */
	INSPECT_REDIRECTS = 1 << 1, /* that lead nowhere */
	INSPECT_FORMS = 1 << 2,	    /* markers of another form than t->o.format */
	INSPECT_INDEX = 1 << 3,	    /* copies that no name leads to */
};

/* What is said of an entry of the index. */
#define INSPECT_STALE "names of a file that has none"

struct inspect {
	struct target *t; /* open; for writing when it is to be repaired */
	unsigned look;
	bool repair;
	bool bare; /* no form was chosen: write what is read in all of them */
	/* Called for each finding, in the order of the paths; r: of repairing it. */
	void (*each)(void *arg, const char *path, const char *what, int r);
	void *arg;

	char *failed; /* after an error: the path, or NULL; the caller frees it */
};

/* 0 or -errno; what could not be repaired is no error. */
int inspect_upper(struct inspect *x);

#endif
