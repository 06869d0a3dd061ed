/* SPDX-License-Identifier: ISC */
/*
 * copy: one file from here to there, with all that belongs to it.
 *
 * What describes an overlay's layers (xattr_private) is not copied.
 */
#ifndef COPY_H
#define COPY_H

#include "at.h"

/* What of the data is certain when the machine loses power. */
enum copy_safety {
	COPY_FLUSHED, /* they are on the disk when the copy is made */
	COPY_LAZY,    /* nothing */
	COPY_ORDERED, /* they are there whenever a later rename is; see work.c */
};

/*
 * Make `to`, which must not be there, a file of the type of `from` (no
 * directory) with its data, holes kept. truncate: without the data. After an
 * error `to` may be there.
 */
int copy_contents(struct at from, struct at to, const struct stat *st, bool truncate,
		  enum copy_safety safety);

/*
 * Everything but the data: owner, attributes and ACLs, mode, times. st is the
 * source's; its mode loses the set-id bits of an owner that cannot be given.
 * What only a privileged caller may set is left out for others.
 */
int copy_meta(struct at from, struct at to, struct stat *st);

/*
 * The same, and attributes that `to` has and `from` has not are removed. What
 * cannot be kept exactly is an error: -EPERM for an owner, too.
 */
int copy_meta_exactly(struct at from, struct at to, const struct stat *st);

/*
 * Open a regular file of a layer for its data, which st tells of; its access time
 * stays. -EIO: kernel overlayfs has left them in another layer (metacopy=on).
 */
int copy_open(struct at a, const struct stat *st, int flags);

/* Whether it has. */
bool copy_lacks_data(struct at a, const struct stat *st);

#endif
