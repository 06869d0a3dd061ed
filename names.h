/* SPDX-License-Identifier: ISC */
/*
 * names: what a directory of a layer has or hides, as a sorted list; the order of paths.
 */
#ifndef NAMES_H
#define NAMES_H

#include "layers.h"

/* The names belong to the list. Zero is an empty one. */
struct names {
	char **list;
	size_t n;
};

/* Add a copy. 0 or -ENOMEM. */
int names_add(struct names *l, const char *name);

/*
 * Add the entries of the part of a directory, and what its whiteouts hide. dirs:
 * only those that may be directories. 0 or -errno.
 */
int names_of_part(struct names *l, const struct part *p, bool dirs);

/* In the order of names_compare, and each once. */
void names_sort(struct names *l);

void names_free(struct names *l);

/*
 * The order of paths: by bytes, and what is in a directory follows it at once. The
 * second one is for qsort and bsearch: it takes pointers to strings.
 */
int names_compare(const char *a, const char *b);
int names_compare_strings(const void *a, const void *b);

#endif
