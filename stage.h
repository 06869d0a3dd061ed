/* SPDX-License-Identifier: ISC */
/*
 * stage: building what a commit puts into a lower, beside its place.
 */
#ifndef STAGE_H
#define STAGE_H

#include "changes.h"
#include "place.h"
#include "progress.h"

struct links;

/* Zero but for the first group. */
struct stage {
	const struct target *t;
	unsigned layer; /* the lower that is written */
	struct place *place;
	const struct changes *c; /* what is left out of a directory is not built */
	struct progress *progress;

	const struct op *op; /* being built */
	bool share;	     /* files of the directory may be taken, see share.h */
	char *asked;	     /* the directory of the operations for which that is so ... */
	bool may_share;	     /* ... or not */
	struct links *links; /* files of several names, and where the first was built */
};

/*
 * Build what op needs, and set its inode numbers. The merged tree's names of a
 * file become names of one file; what the lower itself has is linked, not
 * copied. 0 or -errno, with place->failed.
 */
int stage_op(struct stage *s, struct op *op);

void stage_destroy(struct stage *s);

#endif
