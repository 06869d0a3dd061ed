/* SPDX-License-Identifier: ISC */
/*
 * Opening the layers. All checks come first, then what leaves a trace: the
 * throw-away upper and the work directory.
 */
#include "stack.h"

#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <linux/capability.h>
#include <linux/magic.h>

#include "files.h"
#include "inodes.h"
#include "journal.h"
#include "mounts.h"
#include "whiteout.h"
#include "work.h"
#include "xattr.h"

static int open_dir(const char *what, const char *path)
{
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd == -1)
		err(1, "%s %s", what, options_show(path));
	return fd;
}

int stack_layer(struct layer *l, const char *path)
{
	struct stat st;

	*l = (struct layer){.fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)};
	if (l->fd == -1)
		return -errno;
	if (fstat(l->fd, &st) == -1 || (l->path = realpath(path, NULL)) == NULL) {
		int r = -errno;

		close(l->fd);
		return r;
	}
	l->dev = st.st_dev;
	l->ino = st.st_ino;
	l->fsid = inodes_fsid(l->fd);
	return 0;
}

static void open_layer(struct layer *l, const char *what, const char *path)
{
	int r = stack_layer(l, path);

	if (r != 0)
		errc(1, -r, "%s %s", what, options_show(path));
}

static bool same(const struct stat *a, const struct stat *b)
{
	return a->st_dev == b->st_dev && a->st_ino == b->st_ino;
}

bool stack_inside(int fd, const struct stat *top)
{
	struct stat st, last = {0};
	int up, now = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	bool found = false;

	while (now != -1 && fstat(now, &st) == 0 && !same(&st, &last)) {
		found = same(&st, top);
		if (found)
			break;
		last = st;
		up = openat(now, "..", O_PATH | O_DIRECTORY | O_CLOEXEC);
		close(now);
		now = up;
	}
	if (now != -1)
		close(now);
	return found;
}

/* A lower in the upper, or in the work directory, would change under our hands. */
static void check_overlap(const struct ovl *o, const struct options *opt)
{
	struct stat upper, work;
	int workfd = -1;

	if (opt->work != NULL) {
		workfd = open_dir("workdir", opt->work);
		if (fstat(workfd, &work) == -1 || fstat(o->layer[0].fd, &upper) == -1)
			err(1, "workdir %s", options_show(opt->work));
		if (work.st_dev != upper.st_dev)
			errx(1, "workdir %s: not on the file system of upperdir %s",
			     options_show(opt->work), options_show(opt->upper));
		if (stack_inside(workfd, &upper) || stack_inside(o->layer[0].fd, &work))
			errx(1, "workdir %s: overlaps upperdir %s", options_show(opt->work),
			     options_show(opt->upper));
		if (faccessat(workfd, ".", W_OK | X_OK, AT_EACCESS) == -1)
			err(1, "workdir %s", options_show(opt->work));
	}
	if (fstat(o->layer[0].fd, &upper) == -1)
		err(1, "upperdir %s", options_show(opt->upper));
	for (unsigned i = 1; i < o->nlayers; i++) {
		if (stack_inside(o->layer[i].fd, &upper))
			errx(1, "lowerdir %s: is upperdir %s or lies in it",
			     options_show(o->layer[i].path), options_show(opt->upper));
		if (workfd != -1 && stack_inside(o->layer[i].fd, &work))
			errx(1, "lowerdir %s: is workdir %s or lies in it",
			     options_show(o->layer[i].path), options_show(opt->work));
	}
	if (workfd != -1)
		close(workfd);
}

static void check_upper(const struct layer *l, const char *path)
{
	if (faccessat(l->fd, ".", W_OK | X_OK, AT_EACCESS) == -1)
		err(1, "upperdir %s", options_show(path));
}

bool stack_capable(unsigned cap)
{
	struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
	struct __user_cap_data_struct data[2];

	return syscall(SYS_capget, &header, data) == 0 && (data[0].effective & (1u << cap)) != 0;
}

bool stack_takes_xattrs(int fd)
{
	struct at a = {fd, ""};

	if (at_setxattr_force(a, XATTR_NUMBERED, "y", 1) != 0)
		return false;
	at_removexattr(a, XATTR_NUMBERED);
	return true;
}

/* Whether a layer's file system knows ACLs: then their absence is ENODATA. */
static bool knows_acls(const struct ovl *o)
{
	for (unsigned i = 0; i < o->nlayers; i++)
		if (at_getxattr((struct at){o->layer[i].fd, "."}, "system.posix_acl_access", NULL,
				0) != -EOPNOTSUPP)
			return true;
	return false;
}

static void make_tmp(struct options *opt)
{
	const char *dir = getenv("TMPDIR");

	if (dir == NULL || dir[0] != '/')
		dir = "/tmp";
	if (asprintf(&opt->upper, "%s/overlayfs-XXXXXX", dir) == -1)
		err(1, NULL);
	if (mkdtemp(opt->upper) == NULL)
		err(1, "--tmp: %s", opt->upper);
}

static void open_work(struct ovl *o, struct options *opt)
{
	const char *what = "upperdir", *path = opt->upper;
	bool work;
	long owner;
	int r = work_open(o, opt->work, &owner, &work);

	if (r == 0 && journal_exists(o->workfd))
		r = -EALREADY;
	if (r == 0)
		return;
	if (opt->work != NULL && (work || r != -EBUSY)) {
		what = "workdir";
		path = opt->work;
	}
	path = options_show(path);
	if (r == -EBUSY && owner > 0)
		warnx("%s %s: already in use by process %ld", what, path, owner);
	else if (r == -EBUSY)
		warnx("%s %s: already in use by another mount", what, path);
	else if (r == -EUCLEAN)
		warnx("%s %s: a volatile mount did not end cleanly; check the files and remove "
		      "%s/volatile",
		      what, path, opt->work != NULL ? path : WHITEOUT_WORK);
	else if (r == -EALREADY)
		warnx("upperdir %s: a commit was interrupted; finish it with \"overlayfs commit\" or "
		      "\"overlayfs check --repair\"",
		      options_show(opt->upper));
	else if (r == -EINVAL)
		warnx("upperdir %s: lies in another overlay; give workdir= and whiteout=xattr",
		      options_show(opt->upper));
	else
		warnx("%s %s: %s", what, path, strerror(-r));
	stack_close(o, opt);
	exit(1);
}

/*
 * Whether a directory's listing has all names by which the file system finds
 * something in it. Network file systems and FUSE need not, XFS can be made to
 * ignore case.
 */
static bool lists_all(int fd)
{
	static const unsigned long those[] = {EXT4_SUPER_MAGIC, BTRFS_SUPER_MAGIC,
					      F2FS_SUPER_MAGIC, TMPFS_MAGIC,
					      SQUASHFS_MAGIC,	EROFS_SUPER_MAGIC_V1};
	struct statfs fs;

	if (fstatfs(fd, &fs) == 0)
		for (size_t i = 0; i < sizeof(those) / sizeof(those[0]); i++)
			if ((unsigned long)fs.f_type == those[i])
				return true;
	return false;
}

/* A file system without an id is known by the lowest layer on it, counted from below. */
static void name_file_systems(struct ovl *o)
{
	for (unsigned i = 0; i < o->nlayers; i++)
		for (unsigned j = o->nlayers; o->layer[i].fsid == 0; j--)
			if (o->layer[j - 1].dev == o->layer[i].dev)
				o->layer[i].fsid = o->nlayers - j + 1;
}

/* The layer of --tmp is made by the caller, so that all others were checked. */
static void open_layers(struct ovl *o, struct options *opt)
{
	o->writable = opt->upper != NULL || opt->tmp;
	o->nlayers = opt->nlower + (o->writable ? 1 : 0);
	o->layer = calloc(o->nlayers, sizeof(*o->layer));
	if (o->layer == NULL)
		err(1, NULL);
	for (unsigned i = 0; i < opt->nlower; i++)
		open_layer(&o->layer[o->nlayers - opt->nlower + i], "lowerdir", opt->lower[i]);
	for (unsigned i = o->writable ? 1 : 0; i < o->nlayers; i++)
		o->layer[i].lists = opt->timeout >= TIMEOUT_NEVER && lists_all(o->layer[i].fd);
	if (opt->upper != NULL) {
		open_layer(&o->layer[0], "upperdir", opt->upper);
		check_upper(&o->layer[0], opt->upper);
		check_overlap(o, opt);
	}
}

void stack_open(struct ovl *o, struct options *opt)
{
	struct stat st;

	*o = (struct ovl){.redirect_dir = opt->redirect_dir,
			  .is_volatile = opt->is_volatile,
			  .squash = opt->squash_uid != (uid_t)-1 || opt->squash_gid != (gid_t)-1,
			  .squash_uid = opt->squash_uid,
			  .squash_gid = opt->squash_gid,
			  .timeout = opt->timeout,
			  .format = opt->format,
			  .privileged = stack_capable(CAP_CHOWN),
			  .workfd = -1,
			  .indexfd = -1};
	if (access("/proc/self/fd", X_OK) == -1)
		err(1, "/proc");
	if (layers_init(o) != 0)
		err(1, NULL);
	open_layers(o, opt);
	stack_check_mountpoint(opt);
	if (opt->tmp) {
		make_tmp(opt);
		open_layer(&o->layer[0], "upperdir", opt->upper);
	}
	name_file_systems(o);
	if (o->writable) {
		open_work(o, opt);
		o->xattrs = stack_takes_xattrs(o->workfd);
	}
	o->hide = opt->hide;
	if (opt->private_dir != NULL && stat(opt->private_dir, &st) == 0) {
		o->private_dev = st.st_dev;
		o->private_ino = st.st_ino;
	}
	o->acl = !opt->noacl && knows_acls(o);
	if (inodes_init(o) != 0 || files_init(o) != 0) {
		stack_close(o, opt);
		errx(1, "upperdir %s: cannot read the index", options_show(opt->upper));
	}
}

/* fusermount3's rule: a directory that the user may write to, or owns if it is sticky. */
static void check_user_mountpoint(const char *path, const struct stat *st)
{
	if (geteuid() == 0)
		return;
	if (access(path, W_OK) == -1)
		err(1, "mount point %s", options_show(path));
	if ((st->st_mode & S_ISVTX) && st->st_uid != geteuid())
		errx(1, "mount point %s: sticky, and not owned by you", options_show(path));
}

bool stack_find_program(const char *name)
{
	const char *path = getenv("PATH");
	char *list = strdup(path != NULL ? path : "/usr/local/bin:/usr/bin:/bin"), *p = list;
	char *dir, file[4096];
	bool found;

	snprintf(file, sizeof(file), "/usr/bin/%s", name);
	found = access(file, X_OK) == 0;
	while (!found && p != NULL && (dir = strsep(&p, ":")) != NULL) {
		snprintf(file, sizeof(file), "%s/%s", dir, name);
		found = access(file, X_OK) == 0;
	}
	free(list);
	return found;
}

void stack_check_mountpoint(const struct options *opt)
{
	const char *path = opt->mountpoint;
	struct stat st;
	int fd;

	if (mounts_is_ours(path))
		errx(1, "mount point %s: already a mount of overlayfs", options_show(path));
	if (stat(path, &st) == -1)
		err(1, "mount point %s", options_show(path));
	if (!S_ISDIR(st.st_mode))
		errx(1, "mount point %s: %s", options_show(path), strerror(ENOTDIR));
	check_user_mountpoint(path, &st);
	fd = open("/dev/fuse", O_RDWR | O_CLOEXEC);
	if (fd == -1)
		err(1, "/dev/fuse");
	close(fd);
	if (!stack_capable(CAP_SYS_ADMIN) && !stack_find_program("fusermount3"))
		errx(1, "fusermount3: not found; install fuse3");
}

void stack_close(struct ovl *o, const struct options *opt)
{
	work_close(o, opt->work);
	inodes_destroy(o);
	files_destroy(o);
	layers_destroy(o);
	for (unsigned i = 0; o->layer != NULL && i < o->nlayers; i++) {
		if (o->layer[i].path != NULL)
			close(o->layer[i].fd);
		free(o->layer[i].path);
	}
	free(o->layer);
	o->layer = NULL;
	if (opt->tmp && opt->upper != NULL)
		at_remove_tree((struct at){AT_FDCWD, opt->upper});
}
