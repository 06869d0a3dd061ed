/* SPDX-License-Identifier: ISC */
/*
 * at: one file of a layer, named without following anything.
 *
 * Every access to a layer goes through this module. A file is a directory
 * descriptor and one path component, so no symbolic link and no ".." of a
 * layer can lead out of it. All functions return 0 (or the value named) or
 * -errno; none of them locks or keeps anything.
 */
#ifndef AT_H
#define AT_H

#include <stdbool.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <time.h>

/*
 * name is one component below the directory fd; "." is the directory itself,
 * "" the file that fd (which may be O_PATH) stands for. Borrows both.
 */
struct at {
	int fd;
	const char *name;
};

/*
 * lstat(2). With AT_STATX_DONT_SYNC in flags a network or FUSE file system
 * answers from its cache: a lower may show our own mount, whose daemon must
 * never wait for itself.
 */
int at_stat(struct at a, struct stat *st, int flags);

/*
 * open(2) with O_NOFOLLOW and O_CLOEXEC added; returns the descriptor. Does not
 * wait for the other end of a FIFO, which may have taken a file's place.
 */
int at_open(struct at a, int flags, mode_t mode);

/*
 * The same for reading a lower: O_NOATIME where the caller may, so that the
 * layer's access time stays.
 */
int at_open_quiet(struct at a, int flags);

int at_chmod(struct at a, mode_t mode);
int at_chown(struct at a, uid_t uid, gid_t gid);
int at_utimens(struct at a, const struct timespec tv[2]);

/* Read a symbolic link; buf is terminated, ENAMETOOLONG when it is cut. */
int at_readlink(struct at a, char *buf, size_t size);

/* Extended attributes of the file itself. get and list return the length. */
ssize_t at_getxattr(struct at a, const char *attr, void *value, size_t size);
ssize_t at_listxattr(struct at a, char *list, size_t size);
int at_setxattr(struct at a, const char *attr, const void *value, size_t size, int flags);
int at_removexattr(struct at a, const char *attr);

/*
 * Set an attribute of the user namespace also where the owner's write bit is
 * missing: an ordinary user may only write those of writable files.
 */
int at_setxattr_force(struct at a, const char *attr, const void *value, size_t size);

/*
 * Give the owner write permission for a moment, where an ordinary user needs it
 * to change what nobody changes for him. *mode is for at_restore, which does
 * nothing where nothing was changed.
 */
int at_unlock(struct at a, mode_t *mode);
int at_restore(struct at a, mode_t mode, int r);

/* Hard link to a, as to/name. Works for "" too, without privilege. */
int at_link(struct at a, struct at to);

/* Remove a file, or a directory with everything below it. */
int at_remove_tree(struct at a);

/* Call back with the names in a directory; "." and ".." are left out. A removed one has none. */
int at_list(int fd, int (*each)(void *arg, const char *name, unsigned char type, ino_t ino),
	    void *arg);

#endif
