/* SPDX-License-Identifier: ISC */
/*
 * What the module tests share: TAP, and layers in a private directory that is
 * removed at the end.
 */
#ifndef UNIT_H
#define UNIT_H

#include <err.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "files.h"
#include "inodes.h"
#include "layers.h"
#include "work.h"

#pragma GCC diagnostic ignored "-Wunused-function" /* each test uses what it needs */

static unsigned tests, failures;

__attribute__((format(printf, 2, 3))) static void ok(bool good, const char *format, ...)
{
	va_list args;

	printf("%sok %u - ", good ? "" : "not ", ++tests);
	va_start(args, format);
	vprintf(format, args);
	va_end(args);
	putchar('\n');
	failures += !good;
}

static char root[64];

/* A path of the private directory; good until the fourth next call. */
static const char *in(const char *name)
{
	static char buf[4][4096];
	static unsigned next;
	char *p = buf[next++ % 4];

	snprintf(p, sizeof(buf[0]), "%s/%s", root, name);
	return p;
}

static void make_dir(const char *name)
{
	if (mkdir(in(name), 0755) == -1)
		err(1, "%s", name);
}

static void make_file(const char *name)
{
	int fd = open(in(name), O_WRONLY | O_CREAT | O_EXCL, 0644);

	if (fd == -1)
		err(1, "%s", name);
	close(fd);
}

__attribute__((unused)) static void mark(const char *name, const char *attr, const char *value)
{
	if (lsetxattr(in(name), attr, value, strlen(value), 0) == -1)
		err(1, "%s", name);
}

static bool exists(const char *name)
{
	return faccessat(AT_FDCWD, in(name), F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

/* Make the private directory; the layers are made in it by the test. */
static void unit_begin(void)
{
	strlcpy(root, "/tmp/overlayfs-unit-XXXXXX", sizeof(root));
	if (mkdtemp(root) == NULL)
		err(1, "%s", root);
}

static void unit_remove(void)
{
	at_remove_tree((struct at){AT_FDCWD, root});
}

/* Open the directories u (the upper), a, b and c (lowers), those that are there. */
static void stack_begin(struct ovl *o, enum whiteout_format format)
{
	static const char *const names[] = {"u", "a", "b", "c"};
	struct stat st;
	long owner;
	bool work;

	*o = (struct ovl){.redirect_dir = true, .xattrs = true, .timeout = 1e9};
	o->format = format;
	o->is_volatile = true;
	o->writable = exists("u");
	o->layer = calloc(4, sizeof(*o->layer));
	for (unsigned i = 0; i < 4; i++) {
		struct layer *l = &o->layer[o->nlayers];

		if (!exists(names[i]))
			continue;
		l->fd = open(in(names[i]), O_RDONLY | O_DIRECTORY);
		if (l->fd == -1 || fstat(l->fd, &st) == -1)
			err(1, "%s", names[i]);
		l->dev = st.st_dev;
		l->ino = st.st_ino;
		l->fsid = inodes_fsid(l->fd);
		o->nlayers++;
	}
	o->indexfd = o->workfd = -1;
	if (layers_init(o) != 0 || (o->writable && work_open(o, NULL, &owner, &work) != 0) ||
	    inodes_init(o) != 0 || files_init(o) != 0)
		errx(1, "cannot open the layers");
}

static void stack_end(struct ovl *o)
{
	if (o->writable)
		work_close(o, NULL);
	inodes_destroy(o);
	files_destroy(o);
	layers_destroy(o);
	for (unsigned i = 0; i < o->nlayers; i++)
		close(o->layer[i].fd);
	free(o->layer);
}

static int unit_end(void)
{
	printf("1..%u\n", tests);
	return failures > 0;
}

#endif
