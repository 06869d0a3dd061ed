/* SPDX-License-Identifier: ISC */
/*
 * wire: what the high-level API of libfuse hides, seen on its way from and to
 * the kernel.
 *
 * A request is read, handled and answered in one thread, so the request in
 * progress is kept per thread. These things need it, and libfuse has no other
 * way for them:
 *  - a rename that libfuse makes on its own, to hide an open file that was
 *    unlinked, is told from one that a user asked for;
 *  - fstat(2), fchmod(2), fgetxattr(2), a new open(2) or link(2) of a hidden file,
 *    and their like, reach its descriptor, also when its directory is gone and
 *    libfuse has no path;
 *  - a hidden file is forgotten when the kernel forgets the inode;
 *  - all names of one file are one inode for the kernel, see nodes.h;
 *  - the set-id bits of a file are to be cleared by what changes it: the kernel
 *    leaves that to us (HANDLE_KILLPRIV_V2, SETXATTR_EXT), and need not ask for
 *    an attribute before each write;
 *  - the kernel may keep directory listings (before libfuse 3.16.1 the
 *    high-level API drops that flag);
 *  - the number of libfuse's node for a path, by which a removed file that is
 *    still open is found again;
 *  - what is asked of a node without a name gets ENOENT, where libfuse says
 *    ESTALE; of a file that has another name it is asked again by that;
 *  - O_TMPFILE becomes the creation of a file with a hidden name;
 *  - the kernel does the I/O of open files itself, see backing.h;
 *  - it may look names up in one directory at the same time (libfuse before 3.17
 *    accepts PARALLEL_DIROPS without saying so);
 *  - which thread reads the next request, see readers.h.
 */
#ifndef WIRE_H
#define WIRE_H

#include "layers.h"

struct fuse_session;

/* Look at all that goes through the session, which must be mounted. 0 or -errno. */
int wire_attach(struct fuse_session *se, const struct ovl *o);

/* Free what it keeps, when the session has ended. */
void wire_detach(void);

/* A user asks for a name. */
bool wire_is_lookup(void);

/* The node whose attributes the kernel asks for, or 0. */
uint64_t wire_getattr_node(void);

/* libfuse itself renames to the path `to`, to hide an open file. */
bool wire_hides(const char *to);

/* The hidden file whose attributes are asked for or set; then the path is "/". */
struct hidden *wire_hidden(void);

/*
 * The request is to clear the set-id bits, on behalf of a caller who may not
 * keep them.
 */
bool wire_clears_set_id(void);

/* Somebody may write to the file without a request that tells us. */
bool wire_may_write(void);

/* It has cleared some: the kernel's idea of the file's mode is wrong. */
void wire_mode_changed(void);

/* The caller is an ordinary user; is this user; is a member of the group. */
bool wire_is_unprivileged(void);
bool wire_is_user(uid_t uid);
bool wire_in_group(gid_t gid);

/* What is being hidden is about to be replaced by a rename. */
bool wire_is_rename(void);

/* The file to be created is one without a name. */
bool wire_is_tmpfile(void);

/*
 * libfuse's number of the node that path leads to, or 0: a notification that
 * libfuse would send about it is caught and read. Only in a callback.
 */
uint64_t wire_node(const char *path);

/* The file with this number may be one of several names that the kernel knows. */
bool wire_knows(uint64_t inode);

/* Its node has lost its name, see nodes_nameless. */
void wire_nameless(uint64_t node, bool hidden, bool last);

/* The room that the kernel has for a listing. */
size_t wire_room(void);

#endif
