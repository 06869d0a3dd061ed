/* SPDX-License-Identifier: ISC */
/*
 * backing: open files that the kernel reads, writes and maps by itself.
 *
 * Linux 6.9 takes a descriptor from a daemon with CAP_SYS_ADMIN and does all I/O of
 * an open file on that (FUSE passthrough), as kernel overlayfs does. The answer to
 * open(2) says so, file by file; but as long as any open of an inode goes through us,
 * all must, and the other way round. This module knows which way an inode goes.
 *
 * Only files of the upper pass. A lower file that is copied up while it is open must
 * show the copy, and its access time would be written.
 *
 * All functions take a lock of their own and may be called from any thread.
 */
#ifndef BACKING_H
#define BACKING_H

#include "files.h"

/* An inode of the kernel's that is open, or may be mapped. */
struct backing;

/* The kernel can do it: fuse_fd is the connection. Before that nothing passes. */
void backing_enable(int fuse_fd);

/*
 * f, which is new, is one more open file of the inode that the kernel knows as node.
 * The result is to be f->backing. *id: what the kernel is to be told, 0 when
 * all is to go through us.
 */
struct backing *backing_open(uint64_t node, const struct file *f, int *id);
void backing_close(const struct file *f);

/*
 * Whether the kernel must not keep attributes of the inode: a shared mapping, which
 * may outlive the open file, changes its times without notice. True until the inode
 * is forgotten.
 */
bool backing_maps(uint64_t node);

/* Whether a file that passes is open for writing. */
bool backing_writes(uint64_t node);

void backing_forget(uint64_t node);

#endif
