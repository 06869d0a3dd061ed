/* SPDX-License-Identifier: ISC */
/*
 * compare: whether two files of layers are the same to a user.
 */
#ifndef COMPARE_H
#define COMPARE_H

#include "at.h"

enum {
	COMPARE_CONTENT = 1 << 0, /* data, the target of a link, the number of a device */
	COMPARE_MODE = 1 << 1,
	COMPARE_OWNER = 1 << 2,
	COMPARE_XATTR = 1 << 3, /* with access control lists; without those of overlays */
	COMPARE_TIME = 1 << 4,	/* of modification */
};

/*
 * In what two files of one type differ. What cannot be read counts as
 * different; but unlock: the caller's own files, that he himself may not read,
 * get the permission for a moment. 0 or -errno.
 */
int compare_files(struct at a, const struct stat *sa, struct at b, const struct stat *sb,
		  bool unlock, unsigned *what);

#endif
