/* SPDX-License-Identifier: ISC */
/*
 * tidy: removing from an upper what makes no difference.
 *
 * An entry of the upper that is the same as what the lowers show in its place
 * goes, and a whiteout that hides nothing. The merged tree stays as it is, at
 * every moment.
 */
#ifndef TIDY_H
#define TIDY_H

#include "changes.h"

struct tidied {
	uint64_t files; /* entries that were removed, without what is in directories */
	uint64_t bytes;
	uint64_t whiteouts;
	char *failed; /* after an error: the path, or NULL; the caller frees it */
};

/*
 * c: all changes of the target (CHANGES_TIMES | CHANGES_SAME), collected just
 * now; t is open for writing. each (or NULL) is called with the path of each
 * entry that is removed. dry: remove nothing. 0 or -errno.
 */
int tidy_upper(struct target *t, struct changes *c, bool dry,
	       void (*each)(void *arg, const char *path, bool whiteout), void *arg,
	       struct tidied *done);

#endif
