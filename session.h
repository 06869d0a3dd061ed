/* SPDX-License-Identifier: ISC */
/*
 * session: a mount from its beginning to its end.
 */
#ifndef SESSION_H
#define SESSION_H

/* The command that mounts: parses its arguments, and returns the exit status. */
int session_mount(int argc, char *argv[]);

#endif
