/* SPDX-License-Identifier: ISC */
/*
 * Comparing files. Content is read to the end: neither size nor times prove
 * that it is the same. Holes are skipped where both files have one.
 */
#include "compare.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "copy.h"
#include "xattr.h"

enum { COMPARE_CHUNK = 1 << 17 };

/* Content. */

/* Read size bytes or up to the end; the number read or -errno. */
static ssize_t read_all(int fd, char *buf, size_t size, off_t pos)
{
	size_t done = 0;

	while (done < size) {
		ssize_t n = pread(fd, buf + done, size - done, pos + (off_t)done);

		if (n == -1 && errno == EINTR)
			continue;
		if (n == -1)
			return -errno;
		if (n == 0)
			break;
		done += (size_t)n;
	}
	return (ssize_t)done;
}

/* Where the next data of either file begins; size when both are holes up to there. */
static off_t next_data(int a, int b, off_t pos, off_t size)
{
	off_t x = lseek(a, pos, SEEK_DATA), y;

	if (x == -1)
		x = errno == ENXIO ? size : pos;
	y = lseek(b, pos, SEEK_DATA);
	if (y == -1)
		y = errno == ENXIO ? size : pos;
	return x < y ? x : y;
}

/* 1 when they differ. */
static int data_differ(int a, int b, off_t size)
{
	size_t chunk = size < COMPARE_CHUNK ? (size_t)size : COMPARE_CHUNK;
	char *buf = malloc(2 * chunk);
	ssize_t n, m;
	int r = buf == NULL ? -ENOMEM : 0;

	for (off_t pos = 0; r == 0 && pos < size; pos += n) {
		if (size > COMPARE_CHUNK) {
			pos = next_data(a, b, pos, size);
			if (pos >= size)
				break;
		}
		n = read_all(a, buf, chunk, pos);
		m = n < 0 ? n : read_all(b, buf + chunk, chunk, pos);
		if (n < 0 || m < 0)
			r = (int)(n < 0 ? n : m);
		else if (n != m || memcmp(buf, buf + chunk, (size_t)n) != 0)
			r = 1;
		else if (n == 0)
			break;
	}
	free(buf);
	return r;
}

static int open_file(struct at a, const struct stat *st, bool unlock)
{
	int fd = copy_open(a, st, O_RDONLY), r;

	if (fd != -EACCES || !unlock || st->st_uid != geteuid())
		return fd;
	r = at_chmod(a, (st->st_mode & 07777) | S_IRUSR);
	if (r != 0)
		return r;
	fd = copy_open(a, st, O_RDONLY);
	r = at_chmod(a, st->st_mode & 07777);
	if (r != 0 && fd >= 0)
		close(fd);
	return r != 0 ? r : fd;
}

static int regular_differ(struct at a, const struct stat *sa, struct at b, const struct stat *sb,
			  bool unlock)
{
	int fa = open_file(a, sa, unlock), fb = open_file(b, sb, unlock), r;

	if (fa == -EACCES || fb == -EACCES)
		r = 1;
	else if (fa < 0 || fb < 0)
		r = fa < 0 ? fa : fb;
	else
		r = data_differ(fa, fb, sa->st_size);
	if (fa >= 0)
		close(fa);
	if (fb >= 0)
		close(fb);
	return r;
}

static int links_differ(struct at a, struct at b)
{
	char x[PATH_MAX], y[PATH_MAX];
	int r = at_readlink(a, x, sizeof(x));

	if (r == 0)
		r = at_readlink(b, y, sizeof(y));
	return r != 0 ? r : strcmp(x, y) != 0;
}

static int contents_differ(struct at a, const struct stat *sa, struct at b, const struct stat *sb,
			   bool unlock)
{
	if (S_ISREG(sa->st_mode)) {
		if (sa->st_size != sb->st_size)
			return 1;
		return sa->st_size == 0 ? 0 : regular_differ(a, sa, b, sb, unlock);
	}
	if (S_ISLNK(sa->st_mode))
		return links_differ(a, b);
	if (S_ISCHR(sa->st_mode) || S_ISBLK(sa->st_mode))
		return sa->st_rdev != sb->st_rdev;
	return 0;
}

/* Attributes. */

/* The list without those of overlays; the length, 0 where there are none. */
static ssize_t list_attributes(struct at a, char *list)
{
	ssize_t n = at_listxattr(a, list, XATTR_LIST_MAX);
	char *to = list;

	if (n == -EOPNOTSUPP || n == -EACCES || n == -ENOENT)
		return n == -ENOENT ? n : 0;
	for (char *p = list, *next; n > 0 && p < list + n; p = next) {
		size_t len = strlen(p) + 1;

		next = p + len;
		if (xattr_private(p))
			continue;
		memmove(to, p, len);
		to += len;
	}
	return n < 0 ? n : to - list;
}

static bool contains(const char *list, ssize_t n, const char *name)
{
	for (const char *p = list; p < list + n; p += strlen(p) + 1)
		if (strcmp(p, name) == 0)
			return true;
	return false;
}

static int values_differ(struct at a, struct at b, const char *name, char *buf)
{
	ssize_t n = at_getxattr(a, name, buf, XATTR_SIZE_MAX);
	ssize_t m = at_getxattr(b, name, buf + XATTR_SIZE_MAX, XATTR_SIZE_MAX);

	if (n == -EACCES || n == -EPERM || m == -EACCES || m == -EPERM)
		return n != m;
	if (n < 0 || m < 0)
		return n < 0 ? (int)n : (int)m;
	return n != m || memcmp(buf, buf + XATTR_SIZE_MAX, (size_t)n) != 0;
}

/* Both have lists in buf, one after the other; see whether the values are the same. */
static int lists_differ(struct at a, struct at b, const char *list, ssize_t n, ssize_t m)
{
	const char *other = list + XATTR_LIST_MAX;
	char *buf;
	int r = 0;

	if (n != m)
		return 1;
	if (n == 0)
		return 0;
	buf = malloc(2 * (size_t)XATTR_SIZE_MAX);
	if (buf == NULL)
		return -ENOMEM;
	for (const char *p = list; r == 0 && p < list + n; p += strlen(p) + 1)
		r = contains(other, m, p) ? values_differ(a, b, p, buf) : 1;
	free(buf);
	return r;
}

static int attributes_differ(struct at a, struct at b)
{
	char *list;
	ssize_t n, m;
	int r;

	/* Most files have none: ask for the sizes only. */
	n = at_listxattr(a, NULL, 0);
	m = n == 0 ? at_listxattr(b, NULL, 0) : 1;
	if (n == 0 && m == 0)
		return 0;
	list = malloc(2 * (size_t)XATTR_LIST_MAX);
	if (list == NULL)
		return -ENOMEM;
	n = list_attributes(a, list);
	m = list_attributes(b, list + XATTR_LIST_MAX);
	if (n < 0 || m < 0)
		r = (int)(n < 0 ? n : m);
	else
		r = lists_differ(a, b, list, n, m);
	free(list);
	return r;
}

int compare_files(struct at a, const struct stat *sa, struct at b, const struct stat *sb,
		  bool unlock, unsigned *what)
{
	int r = contents_differ(a, sa, b, sb, unlock);

	*what = 0;
	if (r == 1)
		*what |= COMPARE_CONTENT;
	if (r >= 0)
		r = attributes_differ(a, b);
	if (r == 1)
		*what |= COMPARE_XATTR;
	if (r < 0)
		return r;
	if (!S_ISLNK(sa->st_mode) && (sa->st_mode & 07777) != (sb->st_mode & 07777))
		*what |= COMPARE_MODE;
	if (sa->st_uid != sb->st_uid || sa->st_gid != sb->st_gid)
		*what |= COMPARE_OWNER;
	if (sa->st_mtim.tv_sec != sb->st_mtim.tv_sec || sa->st_mtim.tv_nsec != sb->st_mtim.tv_nsec)
		*what |= COMPARE_TIME;
	return 0;
}
