/* SPDX-License-Identifier: ISC */
/*
 * wire: what the high-level API of libfuse hides, seen on its way from and to
 * the kernel.
 *
 * A request is read, handled and answered in one thread, so the request in
 * progress is kept per thread. Seven things need it, and libfuse has no other
 * way for them:
 *  - a rename that libfuse makes on its own, to hide an open file that was
 *    unlinked, is told from one that a user asked for;
 *  - fstat(2), fchmod(2) and fgetxattr(2) of a hidden file, and their like, reach
 *    its descriptor, also when its directory is gone and libfuse has no path;
 *  - a hidden file is forgotten when the kernel forgets the inode;
 *  - attributes of a file with several names are not cached, as libfuse gives
 *    the kernel one inode for each name, and those of a file that gets a second
 *    name are taken out of the cache;
 *  - the kernel may keep directory listings (before libfuse 3.16.1 the
 *    high-level API drops that flag);
 *  - the number of libfuse's node for a path, by which a removed directory that
 *    is still open is found again; what else is asked of it gets ENOENT, where
 *    libfuse says ESTALE;
 *  - O_TMPFILE becomes the creation of a file with a hidden name.
 */
#ifndef WIRE_H
#define WIRE_H

#include "layers.h"

struct fuse_session;

/* Look at all that goes through the session, which must be mounted. 0 or -errno. */
int wire_attach(struct fuse_session *se, const struct ovl *o);

/* A user asks for a name. */
bool wire_is_lookup(void);

/* libfuse itself renames to the path `to`, to hide an open file. */
bool wire_hides(const char *to);

/* The hidden file whose attributes are asked for or set; then the path is "/". */
struct hidden *wire_hidden(void);

/* What is being hidden is about to be replaced by a rename. */
bool wire_is_rename(void);

/* The file to be created is one without a name. */
bool wire_is_tmpfile(void);

/*
 * libfuse's number of the node that path leads to, or 0: a notification that
 * libfuse would send about it is caught and read. Only in a callback.
 */
uint64_t wire_node(const char *path);

/* The room that the kernel has for a listing. */
size_t wire_room(void);

#endif
