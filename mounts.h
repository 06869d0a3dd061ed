/* SPDX-License-Identifier: ISC */
/*
 * mounts: our own mounts, as /proc/self/mountinfo lists them, and ending one.
 */
#ifndef MOUNTS_H
#define MOUNTS_H

#include <stdbool.h>

/* Asked for on the root of a mount, its value is the daemon's process id. */
#define MOUNTS_PID_XATTR "overlayfs.pid"

/* Whether an overlayfs is mounted at path. Does not touch what is mounted. */
bool mounts_is_ours(const char *path);

/*
 * Take a mount of ours from its mount point, an absolute path without links in
 * it; who has files open in it keeps the tree. 0 or -errno. Thread-safe.
 */
int mounts_detach(const char *path);

/* The command "umount": returns the exit status. */
int mounts_umount(int argc, char *argv[]);

#endif
