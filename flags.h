/* SPDX-License-Identifier: ISC */
/* flags: the flags of files and directories that chattr(1) sets. */
#ifndef FLAGS_H
#define FLAGS_H

#include "files.h"
#include "readdir.h"

/*
 * Perform the ioctl of an open file or directory; -ENOTTY for those that are not
 * about flags. Setting them copies up: -EOPNOTSUPP for a file that is not found
 * any more by the name that it was opened by. privileged: the caller may set
 * those of the superuser.
 */
int flags_of_file(const struct ovl *o, const struct file *f, unsigned cmd, void *data,
		  bool privileged);
int flags_of_dir(const struct ovl *o, const struct listdir *x, unsigned cmd, void *data,
		 bool privileged);

#endif
