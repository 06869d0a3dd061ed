/* SPDX-License-Identifier: ISC */
/*
 * vacuum: the command that removes from an upper what makes no difference.
 */
#ifndef VACUUM_H
#define VACUUM_H

/* Returns the exit status. */
int vacuum_command(int argc, char *argv[]);

#endif
