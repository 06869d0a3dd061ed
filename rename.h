/* SPDX-License-Identifier: ISC */
/*
 * rename: moving names, and directories whose content stays in a lower.
 */
#ifndef RENAME_H
#define RENAME_H

#include "layers.h"

/*
 * renameat2(2) for paths of the overlay. flags: 0, RENAME_NOREPLACE or
 * RENAME_EXCHANGE.
 */
int rename_entry(const struct ovl *o, const char *from, const char *to, unsigned flags);

#endif
