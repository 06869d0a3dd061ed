/* SPDX-License-Identifier: ISC */
/*
 * setid: the set-user-ID and set-group-ID bits that a change takes from a file.
 *
 * The kernel leaves it to us to clear them, and does not notice when the layer's file
 * system does it; that does it for an ordinary daemon, but lets a privileged one keep
 * what the caller may not.
 */
#ifndef SETID_H
#define SETID_H

#include "layers.h"

/* Before data are written, and after a truncation, which may fail: see wire_clears_set_id. */
void setid_clear(struct at a);

/* After an ACL was set. */
void setid_clear_group(struct at a);

/*
 * Whether the caller may clear bits by a chown(2) that changes nobody: the kernel
 * asks who it is only for a change. It asks the same of us before somebody writes,
 * so it is no error when not; the write clears them itself, unless it passes us by.
 */
bool setid_may_clear(struct at a);

/* chown(2) with what it clears. 0 or -errno. */
int setid_chown(const struct ovl *o, struct at a, uid_t uid, gid_t gid);

#endif
