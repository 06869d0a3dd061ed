/* SPDX-License-Identifier: ISC */
/*
 * check: the command that finds and repairs what is wrong in an upper.
 */
#ifndef CHECK_H
#define CHECK_H

/* Returns the exit status: a sum, as in fsck(8). */
int check_command(int argc, char *argv[]);

#endif
