/* SPDX-License-Identifier: ISC */
/*
 * overlayfs: the boundary to FUSE.
 */
#ifndef OVERLAYFS_H
#define OVERLAYFS_H

/* The command that mounts: parses its arguments, and returns the exit status. */
int overlayfs_mount(int argc, char *argv[]);

#endif
