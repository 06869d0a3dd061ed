/* SPDX-License-Identifier: ISC */
/*
 * Copying one file. Owner first, as changing it clears what the later steps
 * set; data before attributes; the times last.
 */
#include "copy.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/fs.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "xattr.h"

enum { COPY_CHUNK = 1 << 20, PIECE = 16 << 20 };

/* Data. */

/* read(2) and write(2) where the kernel cannot copy by itself; len < 0: to the end. */
static int copy_bytes(int from, int to, off_t pos, off_t len)
{
	char *buf = malloc(COPY_CHUNK);
	ssize_t n = 1;
	int r = 0;

	if (buf == NULL)
		return -ENOMEM;
	while (r == 0 && n > 0 && len != 0) {
		size_t want = len < 0 || len > COPY_CHUNK ? COPY_CHUNK : (size_t)len;

		n = pread(from, buf, want, pos);
		if (n == -1)
			r = -errno;
		for (ssize_t done = 0, w; r == 0 && done < n; done += w) {
			w = pwrite(to, buf + done, (size_t)(n - done), pos + done);
			if (w == -1) {
				r = -errno;
				break;
			}
		}
		if (n > 0) {
			pos += n;
			len -= len < 0 ? 0 : n;
		}
	}
	free(buf);
	return r;
}

/*
 * flush: somebody will wait for the data, so the disk begins with each piece
 * while the next one is copied.
 */
static int copy_range(int from, int to, off_t pos, off_t len, bool flush)
{
	while (len > 0) {
		off_t in = pos, out = pos;
		size_t want = len < PIECE ? (size_t)len : PIECE;
		ssize_t n = copy_file_range(from, &in, to, &out, want, 0);

		if (n == -1 && (errno == EXDEV || errno == EINVAL || errno == EOPNOTSUPP ||
				errno == ENOSYS || errno == EPERM)) {
			int r = copy_bytes(from, to, pos, (off_t)want);

			if (r != 0)
				return r;
			n = (ssize_t)want;
		}
		if (n == -1)
			return -errno;
		if (n == 0)
			return 0;
		if (flush && len > n)
			sync_file_range(to, pos, n, SYNC_FILE_RANGE_WRITE);
		pos += n;
		len -= n;
	}
	return 0;
}

/* The data without its holes. size 0: a file of proc(5) may still have some. */
static int copy_data(int from, int to, off_t size, bool flush)
{
	off_t data = 0, hole = 0;
	int r = 0;

	if (size == 0)
		return copy_bytes(from, to, 0, -1);
	if (ioctl(to, FICLONE, from) == 0)
		return 0;
	while (r == 0 && data < size) {
		data = lseek(from, data, SEEK_DATA);
		if (data == -1 && errno == ENXIO)
			break;
		hole = data == -1 ? -1 : lseek(from, data, SEEK_HOLE);
		if (hole == -1) { /* the file system does not tell */
			data = data == -1 ? 0 : data;
			hole = size;
		}
		r = copy_range(from, to, data, hole - data, flush);
		data = hole;
	}
	if (r == 0 && hole != size && ftruncate(to, size) == -1) /* a hole is at the end */
		r = -errno;
	return r;
}

/* Metadata. */

/* Failing to keep these is not the user's business: no privilege, no support. */
static bool may_lose(const char *attr, int r)
{
	if (r == -EPERM)
		return strncmp(attr, "user.", 5) != 0;
	return r == -EOPNOTSUPP && strncmp(attr, "system.", 7) != 0;
}

/* One attribute; its absence is no error. */
static int copy_attribute(struct at from, struct at to, const char *attr)
{
	char small[512], *value = small;
	ssize_t n = at_getxattr(from, attr, small, sizeof(small));
	int r;

	if (n == -ERANGE) {
		value = malloc(XATTR_SIZE_MAX);
		n = value == NULL ? -ENOMEM : at_getxattr(from, attr, value, XATTR_SIZE_MAX);
	}
	r = n < 0 ? (int)n : at_setxattr(to, attr, value, (size_t)n, 0);
	if (value != small)
		free(value);
	return r == -ENODATA || may_lose(attr, r) ? 0 : r;
}

static int copy_xattrs(struct at from, struct at to)
{
	char *list = malloc(XATTR_LIST_MAX);
	ssize_t n = list == NULL ? -ENOMEM : at_listxattr(from, list, XATTR_LIST_MAX);
	int r = n < 0 && n != -EOPNOTSUPP ? (int)n : 0;

	for (char *p = list; r == 0 && n > 0 && p < list + n; p += strlen(p) + 1)
		if (!xattr_private(p))
			r = copy_attribute(from, to, p);
	free(list);
	return r;
}

/*
 * The owner as far as the caller may: without privilege the copy belongs to
 * the mounting user. Then it must not keep the set-id bits of another.
 */
static int copy_owner(struct at to, struct stat *st)
{
	struct stat now;
	int r = at_chown(to, st->st_uid, st->st_gid);

	if (r != -EPERM && r != -EINVAL) /* EINVAL: unknown in this user namespace */
		return r;
	at_chown(to, (uid_t)-1, st->st_gid);
	r = at_stat(to, &now, 0);
	if (r == 0 && now.st_uid != st->st_uid)
		st->st_mode &= ~(mode_t)S_ISUID;
	if (r == 0 && now.st_gid != st->st_gid && !S_ISDIR(st->st_mode))
		st->st_mode &= ~(mode_t)S_ISGID;
	return r;
}

int copy_meta(struct at from, struct at to, struct stat *st)
{
	struct timespec times[2] = {st->st_atim, st->st_mtim};
	int r = copy_owner(to, st);

	if (r == 0)
		r = copy_xattrs(from, to);
	if (r == 0 && !S_ISLNK(st->st_mode))
		r = at_chmod(to, st->st_mode & 07777);
	if (r == 0)
		r = at_utimens(to, times);
	return r;
}

/* A file that was just made may have inherited an access control list. */
static int remove_others(struct at from, struct at to)
{
	char *list = malloc(XATTR_LIST_MAX);
	ssize_t n = list == NULL ? -ENOMEM : at_listxattr(to, list, XATTR_LIST_MAX);
	int r = n < 0 && n != -EOPNOTSUPP ? (int)n : 0;

	for (char *p = list; r == 0 && n > 0 && p < list + n; p += strlen(p) + 1) {
		if (xattr_private(p) || strncmp(p, "security.", 9) == 0 ||
		    at_getxattr(from, p, NULL, 0) != -ENODATA)
			continue;
		r = at_removexattr(to, p);
		if (r == -ENODATA)
			r = 0;
	}
	free(list);
	return r;
}

int copy_meta_exactly(struct at from, struct at to, const struct stat *st)
{
	struct stat copy = *st, now;
	int r = remove_others(from, to);

	if (r == 0)
		r = copy_meta(from, to, &copy);
	if (r == 0)
		r = at_stat(to, &now, 0);
	if (r == 0 && (now.st_uid != st->st_uid || now.st_gid != st->st_gid))
		r = -EPERM;
	return r;
}

/* Types. */

bool copy_lacks_data(struct at a, const struct stat *st)
{
	return S_ISREG(st->st_mode) && st->st_size > 0 &&
	       (at_getxattr(a, "trusted.overlay.metacopy", NULL, 0) >= 0 ||
		at_getxattr(a, "user.overlay.metacopy", NULL, 0) >= 0);
}

int copy_open(struct at a, const struct stat *st, int flags)
{
	return copy_lacks_data(a, st) ? -EIO : at_open_quiet(a, flags);
}

/*
 * Written and waited for, but no commit of the journal and no flush of the
 * disk's cache, which cost ten times as much: the commit that has the rename
 * brings both.
 */
static int put_in_order(int fd)
{
	static const unsigned all =
		SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE | SYNC_FILE_RANGE_WAIT_AFTER;

	return sync_file_range(fd, 0, 0, all) == -1 ? -errno : 0;
}

static int make_safe(int fd, enum copy_safety safety)
{
	int r;

	if (safety == COPY_LAZY)
		return 0;
	if (safety == COPY_ORDERED) {
		r = put_in_order(fd);
		if (r != -ENOSYS && r != -EPERM) /* of a seccomp filter */
			return r;
	}
	return fdatasync(fd) == -1 ? -errno : 0;
}

static int copy_regular(struct at from, struct at to, const struct stat *st, bool truncate,
			enum copy_safety safety)
{
	int in = -1, out, r = 0;

	out = at_open(to, O_RDWR | O_CREAT | O_EXCL, 0600);
	if (out < 0)
		return out;
	if (!truncate) {
		in = copy_open(from, st, O_RDONLY);
		r = in < 0 ? in : copy_data(in, out, st->st_size, safety != COPY_LAZY);
		if (r == 0 && st->st_size > 0)
			r = make_safe(out, safety);
	}
	if (in >= 0)
		close(in);
	if (close(out) == -1 && r == 0)
		r = -errno;
	return r;
}

static int copy_link(struct at from, struct at to)
{
	char target[PATH_MAX];
	int r = at_readlink(from, target, sizeof(target));

	if (r == 0 && symlinkat(target, to.fd, to.name) == -1)
		r = -errno;
	return r;
}

int copy_contents(struct at from, struct at to, const struct stat *st, bool truncate,
		  enum copy_safety safety)
{
	if (S_ISREG(st->st_mode))
		return copy_regular(from, to, st, truncate, safety);
	if (S_ISLNK(st->st_mode))
		return copy_link(from, to);
	if (mknodat(to.fd, to.name, (st->st_mode & S_IFMT) | 0600, st->st_rdev) == -1)
		return -errno;
	return 0;
}
