/* SPDX-License-Identifier: ISC */
/*
 * stack: opening the layers that the options name, and refusing what cannot
 * work, before anything is mounted or made.
 */
#ifndef STACK_H
#define STACK_H

#include "options.h"

/*
 * Open the layers and the work directory. Ends the program with one line when
 * something is wrong; then nothing was made. With opt->tmp, makes the upper and
 * sets opt->upper.
 */
void stack_open(struct ovl *o, struct options *opt);

/* The mount point must be a directory that the caller may mount on. */
void stack_check_mountpoint(const struct options *opt);

/* Open one directory of a stack. 0 or -errno; then there is nothing to close. */
int stack_layer(struct layer *l, const char *path);

/* Whether directory fd is the directory top or lies in it. */
bool stack_inside(int fd, const struct stat *top);

/* Whether the directory fd can have attributes of the user namespace. */
bool stack_takes_xattrs(int fd);

/* Whether we have a capability in our user namespace. */
bool stack_capable(unsigned cap);

/* Whether a program is in PATH or in /usr/bin. */
bool stack_find_program(const char *name);

/* Give everything back; removes a throw-away upper. */
void stack_close(struct ovl *o, const struct options *opt);

#endif
