/* SPDX-License-Identifier: ISC */
/*
 * A mount from its beginning to its end: open the layers, mount, go to the
 * background, serve requests, unmount, clean up. What libfuse and fusermount3
 * say of a failure becomes one line of ours.
 */
#define FUSE_USE_VERSION 312
#include "session.h"

#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <fuse.h>
#include <fuse_lowlevel.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>
#include <unistd.h>

#include "mounts.h"
#include "overlayfs.h"
#include "stack.h"
#include "wire.h"
#include "work.h"

/* Before the mount, libfuse's first complaint is the reason of a failure. */
static char complaint[256];

static void log_message(enum fuse_log_level level, const char *format, va_list args)
{
	char line[256];

	(void)level;
	vsnprintf(line, sizeof(line), format, args);
	line[strcspn(line, "\n")] = '\0';
	if (complaint[0] == '\0')
		strlcpy(complaint, line, sizeof(complaint));
}

static void log_debug(enum fuse_log_level level, const char *format, va_list args)
{
	(void)level;
	vfprintf(stderr, format, args);
}

static struct fuse *new_fuse(const struct ovl *o, const struct options *opt)
{
	struct fuse_args args = FUSE_ARGS_INIT(0, NULL);
	struct fuse *f;
	char *list;

	if (asprintf(&list, "-osubtype=overlayfs,default_permissions%s%s%s%s%s",
		     opt->fuse != NULL && strstr(opt->fuse, "fsname=") != NULL
			     ? ""
			     : ",fsname=overlayfs",
		     geteuid() == 0 && !opt->allow_other ? ",allow_other" : "",
		     geteuid() == 0 ? ",suid,dev" : "", opt->fuse != NULL ? "," : "",
		     opt->fuse != NULL ? opt->fuse : "") == -1)
		err(1, NULL);
	fuse_opt_add_arg(&args, "overlayfs");
	fuse_opt_add_arg(&args, list);
	if (!o->writable)
		fuse_opt_add_arg(&args, "-oro");
	if (opt->debug)
		fuse_opt_add_arg(&args, "-d");
	f = fuse_new(&args, &overlayfs_operations, sizeof(overlayfs_operations),
		     (void *)(uintptr_t)o);
	fuse_opt_free_args(&args);
	free(list);
	return f;
}

/* Mount, with what fusermount3 says on stderr kept for one line of ours. */
static int mount_quietly(struct fuse *f, const char *mountpoint)
{
	int keep_fd = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 0);
	int r, pipefd[2];
	ssize_t n;

	if (keep_fd == -1 || pipe2(pipefd, O_CLOEXEC | O_NONBLOCK) == -1)
		return fuse_mount(f, mountpoint);
	dup2(pipefd[1], STDERR_FILENO);
	r = fuse_mount(f, mountpoint);
	dup2(keep_fd, STDERR_FILENO);
	n = read(pipefd[0], complaint, sizeof(complaint) - 1);
	if (n > 0) {
		complaint[n] = '\0';
		complaint[strcspn(complaint, "\n")] = '\0';
	}
	close(keep_fd);
	close(pipefd[0]);
	close(pipefd[1]);
	return r;
}

static int loop(struct fuse *f, const struct options *opt)
{
	struct fuse_loop_config *config = fuse_loop_cfg_create();
	int r;

	if (config == NULL)
		return -ENOMEM;
	fuse_loop_cfg_set_max_threads(config, (unsigned)opt->max_threads);
	fuse_loop_cfg_set_clone_fd(config, opt->clone_fd);
	r = fuse_loop_mt(f, config);
	fuse_loop_cfg_destroy(config);
	return r;
}

/* Our own mount's device, asked in a way that needs no answer from us. */
static dev_t own_device(const char *mountpoint)
{
	struct stat st;

	return at_stat((struct at){AT_FDCWD, mountpoint}, &st, AT_STATX_DONT_SYNC) == 0 ? st.st_dev
											: 0;
}

/* How long processes may take to leave a tree that is to end. */
enum { GRACE = 2000 };

/*
 * The mount's end, when somebody else decides it. What is unmounted is served
 * until nobody has it; the signal is for those that will not let go.
 */
static void *watch(void *arg)
{
	const struct options *opt = arg;
	bool mounted = true;
	ssize_t n;
	char c;

	do {
		n = read(opt->life_fd, &c, 1);
		if (mounted && (n >= 0 || errno != EINTR))
			mounted = mounts_detach(opt->mountpoint) != 0;
	} while (n > 0 || (n == -1 && errno == EINTR));
	poll(NULL, 0, GRACE);
	kill(getpid(), SIGTERM);
	return NULL;
}

static int start_watch(struct options *opt)
{
	sigset_t all, old;
	pthread_t thread;
	int r;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	r = pthread_create(&thread, NULL, watch, opt);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (r == 0)
		pthread_detach(thread);
	return -r;
}

/* Tell who waits that the tree is there, and let go of all that is the caller's. */
static int announce(const struct options *opt, int ready, dev_t dev)
{
	int fd = open("/dev/null", O_RDWR | O_CLOEXEC);

	if (fd == -1 || chdir("/") == -1 || write(ready, &dev, sizeof(dev)) != sizeof(dev))
		return -errno;
	for (int i = 0; i < (opt->debug ? 2 : 3); i++) /* requests are shown on stderr */
		dup2(fd, i);
	close(fd);
	close(ready);
	return 0;
}

/*
 * The caller's process. Before it ends it has the daemon asked for the root's attributes:
 * until then the kernel takes the root for uid 0's, and lets nobody else change it.
 */
static _Noreturn void leave(const struct options *opt, int ready)
{
	struct stat st;
	dev_t dev;
	bool good = read(ready, &dev, sizeof(dev)) == sizeof(dev);

	if (good)
		at_stat((struct at){AT_FDCWD, opt->mountpoint}, &st, 0);
	_exit(good ? 0 : 1);
}

static int go_to_background(const struct options *opt, dev_t dev)
{
	int ready[2];
	pid_t pid;

	if (pipe2(ready, O_CLOEXEC) == -1 || (pid = fork()) == -1)
		return -errno;
	close(ready[pid == 0 ? 0 : 1]);
	if (pid != 0)
		leave(opt, ready[0]);
	setsid();
	return announce(opt, ready[1], dev);
}

static int go_on(struct options *opt, dev_t dev)
{
	int r;

	if (opt->watched) {
		r = start_watch(opt);
		return r == 0 ? announce(opt, opt->ready_fd, dev) : r;
	}
	if (opt->foreground)
		return chdir("/") == -1 ? -errno : 0;
	return go_to_background(opt, dev);
}

static int serve(struct fuse *f, struct ovl *o, struct options *opt)
{
	struct fuse_session *se = fuse_get_session(f);
	int r;

	o->self_dev = own_device(opt->mountpoint);
	r = wire_attach(se, o);
	if (r == 0 && fuse_set_signal_handlers(se) == -1)
		r = -EIO;
	if (r == 0)
		r = go_on(opt, o->self_dev);
	if (r == 0 && o->writable)
		work_claim(o);
	if (r == 0) {
		fuse_set_log_func(opt->debug ? log_debug : NULL);
		r = loop(f, opt);
	}
	if (r < 0)
		syslog(LOG_ERR, "%s: %s", opt->mountpoint, strerror(-r));
	fuse_remove_signal_handlers(se);
	fuse_unmount(f);
	return r < 0 ? 1 : 0;
}

int session_serve(int argc, char *argv[], const struct session_life *life)
{
	static struct options opt; /* its strings live as long as the program */
	struct ovl o;
	struct fuse *f;
	int status = 1;

	options_parse(&opt, argc, argv);
	if (life != NULL) {
		opt.watched = true;
		opt.ready_fd = life->ready_fd;
		opt.life_fd = life->life_fd;
		opt.hide = life->hide;
		opt.private_dir = life->private_dir;
	}
	openlog("overlayfs", LOG_PID, LOG_DAEMON);
	umask(0);
	stack_open(&o, &opt);
	fuse_set_log_func(opt.debug ? log_debug : log_message);
	f = new_fuse(&o, &opt);
	if (f == NULL || mount_quietly(f, opt.mountpoint) != 0)
		warnx("mount point %s: %s", options_show(opt.mountpoint),
		      complaint[0] != '\0' ? complaint : "cannot mount");
	else
		status = serve(f, &o, &opt);
	if (f != NULL)
		fuse_destroy(f);
	wire_detach();
	stack_close(&o, &opt);
	if (opt.watched)
		rmdir(opt.mountpoint);
	return status;
}

int session_mount(int argc, char *argv[])
{
	return session_serve(argc, argv, NULL);
}
