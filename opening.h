/* SPDX-License-Identifier: ISC */
/*
 * opening: from a request to open or create a file to its handle.
 *
 * flags are those of open(2). *f is to be given back with files_close. 0 or -errno.
 */
#ifndef OPENING_H
#define OPENING_H

#include "files.h"

/* The flags for the layer's file: what is left out the kernel does, or the caller. */
int opening_flags(int flags);

/* A file by its name; it is copied up if it is to be written. */
int opening_path(const struct ovl *o, const char *path, int flags, struct file **f);

/* A file without a name. */
int opening_hidden(const struct ovl *o, struct hidden *h, int flags, struct file **f);

/* A new file of the upper; takes the descriptor over. */
int opening_created(const struct ovl *o, int fd, int flags, struct file **f);

#endif
