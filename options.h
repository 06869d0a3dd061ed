/* SPDX-License-Identifier: ISC */
/*
 * options: the command line and -o options of the mount command.
 */
#ifndef OPTIONS_H
#define OPTIONS_H

#include "layers.h"

struct options {
	char **lower; /* top first */
	unsigned nlower;
	char *upper;	  /* NULL: read-only, unless tmp */
	char *work;	  /* NULL: inside the upper */
	char *mountpoint; /* as given */
	char *fuse;	  /* the mount options for libfuse, separated by commas */
	enum whiteout_format format;
	double timeout;
	uid_t squash_uid; /* (uid_t)-1: none */
	gid_t squash_gid;
	int max_threads;
	bool tmp;
	bool foreground;
	bool debug;
	bool redirect_dir;
	bool is_volatile;
	bool noacl;
	bool allow_other; /* or allow_root was given */
	bool clone_fd;

	/* Set by who mounts for a while, not on the command line; see session.h. */
	bool watched;
	int ready_fd;
	int life_fd;
	const struct filter *hide;
	const char *private_dir;
};

/*
 * Parse the arguments after the command's name. Ends the program with one line
 * when something is wrong. The strings live as long as the program.
 */
void options_parse(struct options *opt, int argc, char *argv[]);

/*
 * Text of the user's for a message of one line: without control characters, and
 * cut where it is very long. Good until the second next call; before threads only.
 */
const char *options_show(const char *text);

#endif
