/* SPDX-License-Identifier: ISC */
/*
 * filter: which changes a command leaves out.
 *
 * A pattern has the syntax of gitignore(5): with a '/' that is not its last
 * byte it is anchored at the root of the tree, else it is a name at any depth;
 * a '/' at the end means directories only; "*", "?" and "[...]" match within a
 * name, "**" any number of directories; what matches a directory matches all
 * below it. In a file, lines that begin with '#' are comments, and '!' takes a
 * path back in, unless a directory above it is left out.
 */
#ifndef FILTER_H
#define FILTER_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/stat.h>

struct pattern;

/* Zero is a filter that leaves nothing out. */
struct filter {
	struct pattern *exclude; /* the last that matches decides */
	size_t nexclude;
	struct pattern *include; /* when there is one, one of them must match */
	size_t ninclude;
	char **empty_in; /* directories whose empty files are left out */
	size_t nempty_in;
	bool rootfs;	 /* leave out what belongs to the running machine */
	bool files_only; /* leave out all but regular files */
};

/* The commands' options, for getopt_long(3): values above any character. */
enum {
	FILTER_EXCLUDE = 0x1000,
	FILTER_INCLUDE,
	FILTER_FILE,
	FILTER_ROOTFS,
	FILTER_FILES_ONLY,
	FILTER_EMPTY_IN,
};

// clang-format off
#define FILTER_OPTIONS \
	{"exclude", required_argument, NULL, FILTER_EXCLUDE}, \
	{"include", required_argument, NULL, FILTER_INCLUDE}, \
	{"filter-file", required_argument, NULL, FILTER_FILE}, \
	{"rootfs", no_argument, NULL, FILTER_ROOTFS}, \
	{"files-only", no_argument, NULL, FILTER_FILES_ONLY}, \
	{"no-empty-in", required_argument, NULL, FILTER_EMPTY_IN}
// clang-format on

/* Take one of them; -1 after one line on standard error. */
int filter_option(struct filter *f, int c, const char *value);

/* Add a pattern. 0, -ENOMEM, or -EINVAL: it is empty. */
int filter_exclude(struct filter *f, const char *glob);
int filter_include(struct filter *f, const char *glob);

/* Leave out the empty files in a directory of the tree. */
int filter_empty_in(struct filter *f, const char *dir);

/* Add the patterns of a file; "-" is standard input. 0 or -errno. */
int filter_read(struct filter *f, const char *path);

/*
 * Whether the change of path ("/a/b") is left out. st: of the new file, of the
 * old one where it is deleted. added: there was nothing before.
 */
bool filter_leaves_out(const struct filter *f, const char *path, const struct stat *st, bool added);

bool filter_is_empty(const struct filter *f);
void filter_destroy(struct filter *f);

#endif
