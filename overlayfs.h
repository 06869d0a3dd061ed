/* SPDX-License-Identifier: ISC */
/*
 * overlayfs: the callbacks of FUSE. Their private data is the struct ovl.
 */
#ifndef OVERLAYFS_H
#define OVERLAYFS_H

extern const struct fuse_operations overlayfs_operations;

#endif
