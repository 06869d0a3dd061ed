/* SPDX-License-Identifier: ISC */
/*
 * xattr: the attributes that a user sees.
 *
 * Those with which overlays describe their layers belong to the layer. A user
 * may still have some of that name (an overlay inside the overlay does): they
 * are stored with "overlay." put behind the prefix, as kernel overlayfs does
 * for nested mounts: user.overlay.opaque becomes user.overlay.overlay.opaque.
 */
#ifndef XATTR_H
#define XATTR_H

#include "at.h"

/* Whether an attribute of a layer's file is about the layer: not to be copied. */
bool xattr_private(const char *ondisk);

/*
 * lgetxattr(2) and so on, with the user's names. Lengths or -errno. trusted:
 * list those of the trusted namespace too, which only root sees.
 */
ssize_t xattr_get(struct at a, const char *name, void *value, size_t size);
ssize_t xattr_list(struct at a, char *list, size_t size, bool trusted);
int xattr_set(struct at a, const char *name, const void *value, size_t size, int flags);
int xattr_remove(struct at a, const char *name);

#endif
