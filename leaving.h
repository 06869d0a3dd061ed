/* SPDX-License-Identifier: ISC */
/*
 * leaving: names that go, while their file or directory may still be open.
 *
 * libfuse hides an open file that is unlinked by a rename, but not directories, and
 * not what is open without its knowing (a FIFO, O_PATH). What the kernel may still
 * ask of those is answered from a descriptor, see files.h.
 */
#ifndef LEAVING_H
#define LEAVING_H

#include "layers.h"

/* A name that is about to go. */
struct leaving {
	uint64_t node; /* libfuse's; 0: nothing is to be done */
	bool kept;     /* by a descriptor */
	bool last;     /* name of the file */
};

/* Before the change; e is the entry of that name, which path leads to. */
struct leaving leaving_begin(const struct ovl *o, const char *path, const struct entry *e);

/* After it: the name is gone, or if r says so, has stayed. */
void leaving_end(const struct ovl *o, const struct leaving *l, int r);

/* libfuse's rename of an open file that is unlinked, or about to be replaced. 0 or -errno. */
int leaving_hide(const struct ovl *o, const char *path, const char *to);

#endif
