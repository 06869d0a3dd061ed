/* SPDX-License-Identifier: ISC */
/*
 * diff: the command that shows the changes of a target.
 */
#ifndef DIFF_H
#define DIFF_H

/* Returns the exit status. */
int diff_command(int argc, char *argv[]);

#endif
