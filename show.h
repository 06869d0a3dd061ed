/* SPDX-License-Identifier: ISC */
/*
 * show: changes as text, for people and for programs.
 */
#ifndef SHOW_H
#define SHOW_H

#include <stdio.h>

#include "changes.h"

enum show_format { SHOW_LIST, SHOW_NAMES, SHOW_NUL, SHOW_STAT, SHOW_JSON, SHOW_PATCH };

struct show {
	const struct target *t;
	FILE *out;
	enum show_format format;
	bool colour;
};

/* Show all changes that are not left out. 0 or -errno; *path then is what failed. */
int show_changes(const struct show *s, const struct changes *c, const char **path);

/* One line of the list: what commit asks about, and what it would do. */
void show_line(const struct show *s, const struct change *x);

/*
 * A path on a line of its own: as it is, or in double quotes with the escapes
 * of C (\n, \", \\, \ooo) when it has control bytes, a quote, a backslash or
 * what is not UTF-8.
 */
void show_path(FILE *out, const char *path);

/* Whether all of text is UTF-8. */
bool show_is_utf8(const char *text);

#endif
