/* SPDX-License-Identifier: ISC */
/*
 * commit: bringing the changes of an upper into a lower.
 */
#ifndef COMMIT_H
#define COMMIT_H

#include "filter.h"
#include "targets.h"

struct commit {
	struct filter filter;
	bool dry_run;
	bool atomic;
	bool interactive;
	bool force;
};

/* The command. Returns the exit status. */
int commit_command(int argc, char *argv[]);

/*
 * The same for a target that was found (not opened); closes nothing but what it
 * opens. Returns the exit status, 0 when all that is not left out was committed.
 */
int commit_target(struct target *t, const struct commit *opt);

#endif
