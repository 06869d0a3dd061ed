/* SPDX-License-Identifier: ISC */
/*
 * run: a command that sees a writable view of the machine, or of another tree.
 */
#ifndef RUN_H
#define RUN_H

/* The exit status of these two is the command's; 125 for an error of ours. */
int run_command(int argc, char *argv[]);

/* A shell in the view of a session. */
int run_shell(int argc, char *argv[]);

#endif
