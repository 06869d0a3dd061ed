/* SPDX-License-Identifier: ISC */
/*
 * rename: moving names, and directories whose content stays in a lower.
 */
#ifndef RENAME_H
#define RENAME_H

#include "layers.h"

/*
 * renameat2(2) for paths of the overlay. flags: 0, RENAME_NOREPLACE or
 * RENAME_EXCHANGE. -EXDEV only for exchanging a directory that a lower has,
 * when redirects are off.
 */
int rename_entry(const struct ovl *o, const char *from, const char *to, unsigned flags);

#endif
