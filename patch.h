/* SPDX-License-Identifier: ISC */
/*
 * patch: one change as a patch in the form of git, made by diff(1).
 */
#ifndef PATCH_H
#define PATCH_H

struct show;
struct change;

/* 0 or -errno. */
int patch_show(const struct show *s, const struct change *x);

#endif
