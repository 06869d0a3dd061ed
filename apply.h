/* SPDX-License-Identifier: ISC */
/*
 * apply: the command that reads an OCI image layer into an upper.
 */
#ifndef APPLY_H
#define APPLY_H

/* Returns the exit status. */
int apply_command(int argc, char *argv[]);

#endif
