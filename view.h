/* SPDX-License-Identifier: ISC */
/*
 * view: the mount of a `run`, served by a process of its own that ends with it.
 *
 * The mount is in a mount namespace of the daemon's own, so that nobody else
 * sees it, where the caller may make one without losing anything: root may. An
 * ordinary user's mount is made by fusermount3, which needs the namespace that
 * the user is in. Where it cannot work (in a sandbox that is no place for
 * set-user-ID programs) the daemon makes a user namespace too.
 */
#ifndef VIEW_H
#define VIEW_H

#include <stdbool.h>
#include <sys/types.h>

struct filter;

enum view_place { VIEW_PRIVATE, VIEW_FUSERMOUNT, VIEW_USERNS };

struct view {
	enum view_place place;
	pid_t pid; /* the daemon, our child; 0 when it has ended */
	int life;  /* see session.h; closed on exec, so that it ends with us */
	char *mountpoint;
	dev_t dev;		   /* of the mount */
	const struct filter *hide; /* what the mount does not show, or NULL */
	const char *private_dir;   /* the same for a directory of lowers */
};

/* Where a mount would be; v is zero but for hide and private_dir. */
void view_choose(struct view *v);

/*
 * Whether owners that the caller's user namespace does not know would stay
 * unknown in the mount: the kernel lets nobody write to such a file.
 */
bool view_has_unknown_owners(const struct view *v);

/*
 * Mount with these arguments of the command line, of which the last is the
 * mount point, an empty directory that is removed at the end. Returns when it
 * is mounted, or -1 after the daemon has said why not.
 */
int view_start(struct view *v, int argc, char *argv[]);

/* For a child process: enter the namespaces where the mount point is one. 0 or -errno. */
int view_enter(const struct view *v);

/* The mount point goes; the mount stays as long as a sandbox has it. */
void view_detach(struct view *v);

/*
 * Wait for the end, that of processes that still have files open included.
 * False: the daemon was killed, perhaps before the command had ended.
 */
bool view_end(struct view *v);

/* Enter the namespaces of a process that are not the caller's. 0 or -errno. */
int view_join(pid_t pid);

#endif
