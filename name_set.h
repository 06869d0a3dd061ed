/* SPDX-License-Identifier: ISC */
/*
 * name_set: which names a directory surely does not have.
 *
 * One bit for the hash of each name that was added. What has no bit was not
 * added; what has one may share it with another name. Any thread may add and ask.
 */
#ifndef NAME_SET_H
#define NAME_SET_H

#include <stdbool.h>
#include <sys/types.h>

struct name_set;

/*
 * An empty set for a directory of that st_size in bytes, from which the number
 * of names is guessed. free(3) ends it. NULL: no memory.
 */
struct name_set *name_set_new(off_t size);
void name_set_add(struct name_set *s, const char *name);

/* false: it was not added. */
bool name_set_may_have(const struct name_set *s, const char *name);

#endif
