/* SPDX-License-Identifier: ISC */
/*
 * The boundary to FUSE: one thin callback for each operation.
 * A callback finds the file that its path or handle stands for, lets a module
 * do the work, and returns 0 or -errno. Locks (flock, fcntl) and access checks
 * are the kernel's, which needs no request for them.
 */
#define FUSE_USE_VERSION 312
#include "overlayfs.h"

#include <errno.h>
#include <fcntl.h>
#include <fuse.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#include "copy.h"
#include "copyup.h"
#include "entries.h"
#include "files.h"
#include "flags.h"
#include "inodes.h"
#include "leaving.h"
#include "mounts.h"
#include "opening.h"
#include "readdir.h"
#include "rename.h"
#include "setid.h"
#include "targets.h"
#include "wire.h"
#include "work.h"
#include "xattr.h"

/* Bytes of one entry in a listing with attributes: fuse_entry_out, fuse_dirent, name. */
enum { DIRENTPLUS = 128 + 24, DIRENT = 24 };

#define ACL_PREFIX "system.posix_acl_"

static const struct ovl *ovl(void)
{
	return fuse_get_context()->private_data;
}

static struct caller caller(void)
{
	const struct fuse_context *c = fuse_get_context();

	return (struct caller){c->uid, c->gid, c->umask};
}

static struct file *handle(const struct fuse_file_info *fi)
{
	return (struct file *)(uintptr_t)fi->fh;
}

/* Finding the file that a request is about. */

/* Of a file without a name; NULL when it has one, or is meant by a plain handle. */
static struct hidden *hidden_of(const char *path, const struct fuse_file_info *fi)
{
	if (wire_hidden() != NULL && (path == NULL || strcmp(path, "/") == 0))
		return wire_hidden();
	return fi != NULL ? handle(fi)->hidden : files_hidden(ovl(), path);
}

/* A file for reading: *e is to be given back with entry_done in any case. */
static int find(const char *path, const struct fuse_file_info *fi, struct entry *e)
{
	struct hidden *h = hidden_of(path, fi);

	*e = (struct entry){.part = -1};
	if (h != NULL)
		e->at = (struct at){h->file.fd, ""};
	else if (fi != NULL)
		e->at = (struct at){handle(fi)->fd, ""};
	else
		return layers_lookup(ovl(), path, e);
	return 0;
}

/* The same for changing it: it is in the upper afterwards. */
static int find_upper(const char *path, const struct fuse_file_info *fi, struct entry *e)
{
	struct hidden *h = hidden_of(path, fi);
	int r = h == NULL ? 0 : copyup_hidden(ovl(), h);

	*e = (struct entry){.part = -1};
	if (r == 0)
		r = find(path, fi, e);
	if (r == 0 && h == NULL && fi == NULL) {
		r = copyup_entry(ovl(), e, false);
		if (r != 0)
			entry_done(ovl(), e);
	}
	return r;
}

/* Attributes. */

/*
 * A file without a name has those links that are left, and changed when the last one
 * went. Asked for them, libfuse takes one off for the hidden name, which it believes to
 * be there.
 */
static void present_hidden(const struct hidden *h, struct stat *st)
{
	if (S_ISDIR(st->st_mode) || (!h->upper && !inodes_indexed(ovl(), h->file.ino)))
		st->st_nlink = 0;
	if (st->st_nlink == 0 && !h->upper) /* a lower does not know */
		st->st_ctim = h->gone;
	if (st->st_nlink > 0 && wire_getattr_node() != 0 && !h->released &&
	    files_is_hidden_name(h->name))
		st->st_nlink++;
}

static int stat_file(const struct file *f, struct stat *st)
{
	int r = at_stat((struct at){f->fd, ""}, st, 0);

	if (r != 0)
		return r;
	inodes_present(ovl(), f->ino, st);
	if (f->hidden != NULL)
		present_hidden(f->hidden, st);
	return 0;
}

/* The layer lost the name, but somebody has the file open. */
static int stat_lost(struct file *f, struct stat *st)
{
	int r = stat_file(f, st);

	close(f->fd);
	return r;
}

static int ovl_getattr(const char *path, struct stat *st, struct fuse_file_info *fi)
{
	struct hidden *h = hidden_of(path, fi);
	struct file f;
	struct entry e;
	int r;

	if (h != NULL && fi == NULL && wire_is_lookup())
		return -ENOENT;
	if (h != NULL)
		return stat_file(&h->file, st);
	if (fi != NULL)
		return stat_file(handle(fi), st);
	r = layers_lookup(ovl(), path, &e);
	if ((r == -ENOENT || r == -ENOTDIR) && files_dup_node(ovl(), wire_getattr_node(), &f))
		return stat_lost(&f, st);
	if (r != 0)
		return r;
	*st = e.st;
	inodes_present(ovl(), e.ino, st);
	entry_done(ovl(), &e);
	return 0;
}

static int ovl_readlink(const char *path, char *buf, size_t size)
{
	struct entry e;
	int r = find(path, NULL, &e);

	if (r == 0)
		r = at_readlink(e.at, buf, size);
	entry_done(ovl(), &e);
	return r == -ENAMETOOLONG ? 0 : r;
}

/* What is known of a directory may be other after this. */
static void changed(const char *path, const struct entry *e)
{
	if (path != NULL && S_ISDIR(e->st.st_mode))
		layers_drop(ovl(), strcmp(path, "/") == 0 ? "" : path);
}

static int ovl_chmod(const char *path, mode_t mode, struct fuse_file_info *fi)
{
	struct entry e;
	int r = find_upper(path, fi, &e);

	if (r != 0)
		return r;
	if (!ovl()->privileged && !(mode & S_IRUSR) && e.upper)
		inodes_keep(ovl(), &e.st, e.ino);
	r = at_chmod(e.at, mode & 07777);
	changed(path, &e);
	entry_done(ovl(), &e);
	return r;
}

static int ovl_chown(const char *path, uid_t uid, gid_t gid, struct fuse_file_info *fi)
{
	const struct ovl *o = ovl();
	struct entry e;
	bool may;
	int r;

	if (o->squash) /* the owner is only shown */
		return (uid == (uid_t)-1 || uid == o->squash_uid) &&
				       (gid == (gid_t)-1 || gid == o->squash_gid)
			       ? 0
			       : -EPERM;
	if (uid == (uid_t)-1 && gid == (gid_t)-1) {
		r = find(path, fi, &e);
		may = r == 0 && setid_may_clear(e.at);
		entry_done(o, &e);
		if (!may)
			return r;
	}
	r = find_upper(path, fi, &e);
	if (r != 0)
		return r;
	r = setid_chown(ovl(), e.at, uid, gid);
	changed(path, &e);
	entry_done(o, &e);
	return r;
}

static int ovl_utimens(const char *path, const struct timespec tv[2], struct fuse_file_info *fi)
{
	struct entry e;
	int r = find_upper(path, fi, &e);

	if (r != 0)
		return r;
	r = at_utimens(e.at, tv);
	entry_done(ovl(), &e);
	return r;
}

static int truncate_at(struct at a, off_t size)
{
	int r, fd = at_open(a, O_WRONLY, 0);

	if (fd < 0)
		return fd;
	r = ftruncate(fd, size) == -1 ? -errno : 0;
	close(fd);
	return r;
}

/* What is refused is refused before anything is copied. */
static int copyup_truncate(struct entry *e, off_t size)
{
	int r = 0;

	if (ovl()->writable && !e->upper && size > e->st.st_size)
		r = work_fits(ovl(), size);
	return r == 0 ? copyup_entry(ovl(), e, size == 0) : r;
}

static int ovl_truncate(const char *path, off_t size, struct fuse_file_info *fi)
{
	struct entry e;
	int r;

	if (fi != NULL && handle(fi)->hidden == NULL) {
		if (ftruncate(handle(fi)->fd, size) == -1)
			return -errno;
		setid_clear((struct at){handle(fi)->fd, ""});
		return 0;
	}
	if (hidden_of(path, fi) != NULL) {
		r = find_upper(path, fi, &e);
	} else {
		r = layers_lookup(ovl(), path, &e);
		if (r == 0 && (r = copyup_truncate(&e, size)) != 0)
			entry_done(ovl(), &e);
	}
	if (r != 0)
		return r;
	r = truncate_at(e.at, size);
	if (r == 0)
		setid_clear(e.at);
	entry_done(ovl(), &e);
	return r;
}

/* Extended attributes. */

static bool refused(const char *name)
{
	return !ovl()->acl && strncmp(name, ACL_PREFIX, strlen(ACL_PREFIX)) == 0;
}

static int daemon_pid(char *value, size_t size)
{
	char pid[32];
	int n = snprintf(pid, sizeof(pid), "%ld", (long)getpid());

	if (size == 0)
		return n;
	if ((size_t)n > size)
		return -ERANGE;
	memcpy(value, pid, (size_t)n);
	return n;
}

static int ovl_getxattr(const char *path, const char *name, char *value, size_t size)
{
	struct entry e;
	ssize_t r;

	if (refused(name))
		return -EOPNOTSUPP;
	if (strcmp(name, MOUNTS_PID_XATTR) == 0 && strcmp(path, "/") == 0 && wire_hidden() == NULL)
		return daemon_pid(value, size);
	if (strcmp(name, TARGETS_LAYERS_XATTR) == 0 && strcmp(path, "/") == 0 &&
	    wire_hidden() == NULL)
		return targets_layers_value(ovl(), value, size);
	r = find(path, NULL, &e);
	if (r == 0)
		r = xattr_get(e.at, name, value, size);
	entry_done(ovl(), &e);
	return (int)r;
}

static int ovl_listxattr(const char *path, char *list, size_t size)
{
	struct entry e;
	ssize_t r = find(path, NULL, &e);

	if (r == 0)
		r = xattr_list(e.at, list, size, caller().uid == 0);
	entry_done(ovl(), &e);
	return (int)r;
}

static int ovl_setxattr(const char *path, const char *name, const char *value, size_t size,
			int flags)
{
	struct entry e;
	int r;

	if (refused(name))
		return -EOPNOTSUPP;
	r = find_upper(path, NULL, &e);
	if (r != 0)
		return r;
	r = xattr_set(e.at, name, value, size, flags);
	if (r == 0 && strcmp(name, ACL_PREFIX "access") == 0)
		setid_clear_group(e.at);
	changed(path, &e);
	entry_done(ovl(), &e);
	return r;
}

static int ovl_removexattr(const char *path, const char *name)
{
	struct entry e;
	int r;

	if (refused(name))
		return -EOPNOTSUPP;
	r = find(path, NULL, &e); /* what is not there needs no copy-up */
	if (r == 0)
		r = (int)xattr_get(e.at, name, NULL, 0);
	entry_done(ovl(), &e);
	if (r == -ENODATA && strncmp(name, ACL_PREFIX, strlen(ACL_PREFIX)) == 0)
		return 0; /* no file is without an ACL: then its mode is one */
	if (r < 0)
		return r;
	r = find_upper(path, NULL, &e);
	if (r != 0)
		return r;
	r = xattr_remove(e.at, name);
	changed(path, &e);
	entry_done(ovl(), &e);
	return r;
}

/* Names. */

static int ovl_mknod(const char *path, mode_t mode, dev_t rdev)
{
	struct caller by = caller();

	return entries_mknod(ovl(), path, mode, rdev, &by);
}

static int ovl_mkdir(const char *path, mode_t mode)
{
	struct caller by = caller();

	return entries_mkdir(ovl(), path, mode, &by);
}

static int ovl_symlink(const char *target, const char *path)
{
	struct caller by = caller();

	return entries_symlink(ovl(), target, path, &by);
}

static int ovl_link(const char *from, const char *to)
{
	struct hidden *h = hidden_of(from, NULL);
	struct entry e;
	int r;

	if (h != NULL) {
		r = copyup_hidden(ovl(), h);
		if (r == 0)
			r = entries_link_bare(ovl(), (struct at){h->file.fd, ""}, h->file.ino, to);
		return r;
	}
	r = layers_lookup(ovl(), from, &e);
	if (r != 0)
		return r;
	r = entries_link(ovl(), &e, to);
	entry_done(ovl(), &e);
	return r;
}

static int ovl_unlink(const char *path)
{
	struct hidden *h = files_hidden(ovl(), path);
	struct leaving l;
	struct entry e;
	int r;

	if (h != NULL) { /* libfuse removes a name that never was there */
		h->released = true;
		return 0;
	}
	r = layers_lookup(ovl(), path, &e);
	if (r != 0)
		return r;
	l = leaving_begin(ovl(), path, &e);
	r = entries_unlink(ovl(), &e);
	leaving_end(ovl(), &l, r);
	entry_done(ovl(), &e);
	return r;
}

static int ovl_rmdir(const char *path)
{
	struct leaving l;
	struct entry e;
	int r = layers_lookup(ovl(), path, &e);

	if (r != 0)
		return r;
	l = leaving_begin(ovl(), path, &e);
	entry_done(ovl(), &e);
	r = entries_rmdir(ovl(), path);
	leaving_end(ovl(), &l, r);
	return r;
}

/* The kernel keeps listings, and with them the number of ".." in a moved directory. */
static void forget_listing(const char *from, const char *to)
{
	size_t a = (size_t)(strrchr(from, '/') - from), b = (size_t)(strrchr(to, '/') - to);
	struct entry e;

	if ((a == b && strncmp(from, to, a) == 0) || layers_lookup(ovl(), to, &e) != 0)
		return;
	if (S_ISDIR(e.st.st_mode))
		fuse_invalidate_path(fuse_get_context()->fuse, from);
	entry_done(ovl(), &e);
}

static int ovl_rename(const char *from, const char *to, unsigned flags)
{
	struct leaving l = {.node = 0};
	struct entry e;
	int r;

	if (wire_hides(to))
		return leaving_hide(ovl(), from, to);
	if (!(flags & RENAME_EXCHANGE) && layers_lookup(ovl(), to, &e) == 0) {
		l = leaving_begin(ovl(), to, &e);
		entry_done(ovl(), &e);
	}
	r = rename_entry(ovl(), from, to, flags);
	if (l.node != 0)
		leaving_end(ovl(), &l, r);
	if (r == 0) {
		readdir_moved(from, to, flags & RENAME_EXCHANGE);
		forget_listing(from, to);
		if (flags & RENAME_EXCHANGE)
			forget_listing(to, from);
	}
	return r;
}

/* Open files. */

static int ovl_open(const char *path, struct fuse_file_info *fi)
{
	const struct ovl *o = ovl();
	struct hidden *h = hidden_of(path, NULL);
	struct file *f;
	int r = h != NULL ? opening_hidden(o, h, fi->flags, &f)
			  : opening_path(o, path, fi->flags, &f);

	if (r != 0)
		return r;
	fi->fh = (uintptr_t)f;
	fi->keep_cache = h == NULL && o->timeout > 0;
	fi->direct_io = f->no_size;
	return 0;
}

static int created(struct fuse_file_info *fi, int fd)
{
	struct file *f;
	int r = opening_created(ovl(), fd, fi->flags, &f);

	if (r == 0)
		fi->fh = (uintptr_t)f;
	return r;
}

static int create_tmpfile(const char *path, mode_t mode, struct fuse_file_info *fi)
{
	struct caller by = caller();
	const char *name = strrchr(path, '/') + 1;
	int r, fd = entries_tmpfile(ovl(), path, opening_flags(fi->flags & ~O_TMPFILE), mode, &by);

	if (fd < 0)
		return fd;
	r = created(fi, fd);
	if (r == 0 && (r = files_hide_new(ovl(), name, fd, handle(fi)->ino)) != 0)
		files_close(ovl(), handle(fi));
	return r;
}

static int ovl_create(const char *path, mode_t mode, struct fuse_file_info *fi)
{
	struct caller by = caller();
	int fd;

	if (wire_is_tmpfile())
		return create_tmpfile(path, mode, fi);
	fd = entries_create(ovl(), path, opening_flags(fi->flags), mode, &by);
	if (fd == -EEXIST && !(fi->flags & O_EXCL))
		return ovl_open(path, fi);
	return fd < 0 ? fd : created(fi, fd);
}

/* libfuse moves the data from our file to the kernel, and frees the vector. */
static int ovl_read_buf(const char *path, struct fuse_bufvec **bufp, size_t size, off_t offset,
			struct fuse_file_info *fi)
{
	struct fuse_bufvec *buf = malloc(sizeof(*buf));

	(void)path;
	if (buf == NULL)
		return -ENOMEM;
	*buf = FUSE_BUFVEC_INIT(size);
	buf->buf[0].flags = FUSE_BUF_IS_FD | FUSE_BUF_FD_SEEK;
	buf->buf[0].fd = handle(fi)->fd;
	buf->buf[0].pos = offset;
	*bufp = buf;
	return 0;
}

static int ovl_write(const char *path, const char *buf, size_t size, off_t offset,
		     struct fuse_file_info *fi)
{
	const struct file *f = handle(fi);
	struct iovec v = {(char *)(uintptr_t)buf, size};
	ssize_t n;

	(void)path;
	setid_clear((struct at){f->fd, ""});
	/* The kernel's idea of the end may be old when the upper was changed otherwise. */
	if ((f->flags & O_APPEND) && !fi->writepage)
		n = pwritev2(f->fd, &v, 1, offset, RWF_APPEND);
	else if ((f->flags & O_APPEND) && (fcntl(f->fd, F_GETFL) & O_APPEND))
		return -EPERM; /* a mapping's page, which would go to the end */
	else
		n = pwrite(f->fd, buf, size, offset);
	return n == -1 ? -errno : (int)n;
}

static int ovl_flush(const char *path, struct fuse_file_info *fi)
{
	(void)path;
	(void)fi;
	return -ENOSYS; /* nothing is held back; the kernel asks no more */
}

static int ovl_release(const char *path, struct fuse_file_info *fi)
{
	(void)path;
	files_close(ovl(), handle(fi));
	return 0;
}

static int sync_fd(int fd, int datasync)
{
	if (ovl()->is_volatile)
		return 0;
	return (datasync ? fdatasync(fd) : fsync(fd)) == -1 ? -errno : 0;
}

static int ovl_fsync(const char *path, int datasync, struct fuse_file_info *fi)
{
	(void)path;
	return sync_fd(handle(fi)->fd, datasync);
}

static int ovl_fallocate(const char *path, int mode, off_t offset, off_t length,
			 struct fuse_file_info *fi)
{
	(void)path;
	setid_clear((struct at){handle(fi)->fd, ""});
	return fallocate(handle(fi)->fd, mode, offset, length) == -1 ? -errno : 0;
}

static ssize_t ovl_copy_file_range(const char *path_in, struct fuse_file_info *in, off_t pos_in,
				   const char *path_out, struct fuse_file_info *out, off_t pos_out,
				   size_t size, int flags)
{
	ssize_t n;

	(void)path_in;
	(void)path_out;
	setid_clear((struct at){handle(out)->fd, ""});
	n = copy_file_range(handle(in)->fd, &pos_in, handle(out)->fd, &pos_out, size,
			    (unsigned)flags);
	return n == -1 ? -errno : n;
}

static off_t ovl_lseek(const char *path, off_t offset, int whence, struct fuse_file_info *fi)
{
	off_t r = lseek(handle(fi)->fd, offset, whence);

	(void)path;
	return r == -1 ? -errno : r;
}

static int ovl_ioctl(const char *path, unsigned cmd, void *arg, struct fuse_file_info *fi,
		     unsigned flags, void *data)
{
	bool root = fuse_get_context()->uid == 0;

	(void)path;
	(void)arg;
	if (flags & FUSE_IOCTL_COMPAT)
		return -ENOTTY;
	if (flags & FUSE_IOCTL_DIR)
		return flags_of_dir(ovl(), (struct listdir *)(uintptr_t)fi->fh, cmd, data, root);
	return flags_of_file(ovl(), handle(fi), cmd, data, root);
}

static int ovl_statfs(const char *path, struct statvfs *st)
{
	(void)path;
	return fstatvfs(ovl()->layer[0].fd, st) == -1 ? -errno : 0;
}

/* Directories. */

static int ovl_opendir(const char *path, struct fuse_file_info *fi)
{
	struct listdir *x;
	int r = readdir_open(ovl(), path, &x);

	if (r == 0)
		fi->fh = (uintptr_t)x;
	return r;
}

static int ovl_releasedir(const char *path, struct fuse_file_info *fi)
{
	(void)path;
	readdir_close(ovl(), (struct listdir *)(uintptr_t)fi->fh);
	return 0;
}

static int ovl_fsyncdir(const char *path, int datasync, struct fuse_file_info *fi)
{
	struct listdir *x = (struct listdir *)(uintptr_t)fi->fh;
	struct part *p = dir_upper(ovl(), x->d);
	int r, fd;

	(void)path;
	if (p == NULL)
		return 0;
	fd = at_open((struct at){p->fd, "."}, O_RDONLY | O_DIRECTORY, 0);
	if (fd < 0)
		return fd;
	r = sync_fd(fd, datasync);
	close(fd);
	return r;
}

static int fill_dots(const struct listdir *x, void *buf, fuse_fill_dir_t fill, off_t *offset)
{
	struct stat st = {.st_mode = S_IFDIR};

	if (*offset == 0) {
		st.st_ino = x->d->ino;
		if (fill(buf, ".", &st, 1, 0) != 0)
			return 1;
		*offset = 1;
	}
	if (*offset == 1) {
		st.st_ino = readdir_parent(ovl(), x);
		if (fill(buf, "..", &st, 2, 0) != 0)
			return 1;
		*offset = 2;
	}
	return 0;
}

static size_t entry_size(const char *name, bool plus)
{
	return ((plus ? DIRENTPLUS : DIRENT) + strlen(name) + 7) & ~(size_t)7;
}

static int ovl_readdir(const char *path, void *buf, fuse_fill_dir_t fill, off_t offset,
		       struct fuse_file_info *fi, enum fuse_readdir_flags flags)
{
	struct listdir *x = (struct listdir *)(uintptr_t)fi->fh;
	bool plus = flags & FUSE_READDIR_PLUS;
	size_t room = wire_room(), used = offset == 0 ? 2 * entry_size("..", plus) : 0;
	int r = offset == 0 || !x->l.loaded ? readdir_reload(ovl(), x) : 0;

	(void)path;
	if (r != 0)
		return r;
	if (fill_dots(x, buf, fill, &offset) != 0)
		return 0;
	for (size_t i = readdir_seek(&x->l, (uint64_t)offset); i < x->l.n; i++) {
		const char *name = x->l.names + x->l.entry[i].name;
		struct stat st;

		/* libfuse would look up, and keep, what does not fit any more */
		used += entry_size(name, plus);
		if (used > room)
			break;
		if (readdir_stat(ovl(), x->d, &x->l, i, !plus, &st) != 0) {
			used -= entry_size(name, plus);
			continue; /* it has gone meanwhile */
		}
		if (fill(buf, name, &st, (off_t)x->l.entry[i].position,
			 plus ? FUSE_FILL_DIR_PLUS : 0) != 0)
			break;
	}
	return 0;
}

/* The table. */

static void *ovl_init(struct fuse_conn_info *conn, struct fuse_config *cfg)
{
	const struct ovl *o = ovl();
	static const unsigned unwanted = FUSE_CAP_SPLICE_READ | FUSE_CAP_HANDLE_KILLPRIV;

	conn->want &= ~unwanted;
	conn->want |= conn->capable & (FUSE_CAP_SPLICE_WRITE | FUSE_CAP_SPLICE_MOVE);
	conn->want |= conn->capable & (FUSE_CAP_CACHE_SYMLINKS | FUSE_CAP_DONT_MASK);
	if (o->acl)
		conn->want |= conn->capable & FUSE_CAP_POSIX_ACL;
	cfg->use_ino = 1;
	cfg->nullpath_ok = 1;
	cfg->entry_timeout = o->timeout;
	cfg->attr_timeout = o->timeout;
	cfg->negative_timeout = o->timeout;
	if (o->timeout == 0)
		conn->want &= ~(unsigned)FUSE_CAP_CACHE_SYMLINKS;
	return (void *)(uintptr_t)o;
}

const struct fuse_operations overlayfs_operations = {
	.getattr = ovl_getattr,
	.readlink = ovl_readlink,
	.mknod = ovl_mknod,
	.mkdir = ovl_mkdir,
	.unlink = ovl_unlink,
	.rmdir = ovl_rmdir,
	.symlink = ovl_symlink,
	.rename = ovl_rename,
	.link = ovl_link,
	.chmod = ovl_chmod,
	.chown = ovl_chown,
	.truncate = ovl_truncate,
	.open = ovl_open,
	.read_buf = ovl_read_buf,
	.write = ovl_write,
	.statfs = ovl_statfs,
	.flush = ovl_flush,
	.release = ovl_release,
	.fsync = ovl_fsync,
	.setxattr = ovl_setxattr,
	.getxattr = ovl_getxattr,
	.listxattr = ovl_listxattr,
	.removexattr = ovl_removexattr,
	.opendir = ovl_opendir,
	.readdir = ovl_readdir,
	.releasedir = ovl_releasedir,
	.fsyncdir = ovl_fsyncdir,
	.init = ovl_init,
	.create = ovl_create,
	.utimens = ovl_utimens,
	.ioctl = ovl_ioctl,
	.fallocate = ovl_fallocate,
	.copy_file_range = ovl_copy_file_range,
	.lseek = ovl_lseek,
};
