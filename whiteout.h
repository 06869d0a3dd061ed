/* SPDX-License-Identifier: ISC */
/*
 * whiteout: all knowledge of markers on disk.
 *
 * Read in any layer: `.wh.NAME` beside NAME (OCI image-spec, aufs), a character
 * device 0:0 called NAME and an empty file with the attribute overlay.whiteout
 * in a directory whose overlay.opaque is "x" (kernel overlayfs documentation);
 * opaque directories as overlay.opaque = "y" or `.wh..wh..opq`; redirects.
 * A whiteout hides the layers below its own, never what lies beside it.
 */
#ifndef WHITEOUT_H
#define WHITEOUT_H

#include "layers.h"

#define WHITEOUT_PREFIX ".wh."
#define WHITEOUT_OPAQUE ".wh..wh..opq"
#define WHITEOUT_WORK ".wh..wh.work"

/* Our own attributes on files of the upper; see inodes.h for their values. */
#define XATTR_ORIGIN "user.overlayfs.origin"
#define XATTR_NUMBERED "user.overlayfs.numbered"

/* What a directory of a layer says of itself. */
struct marks {
	bool opaque;
	unsigned flags; /* PART_* */
	bool has_origin;
	char *redirect; /* NULL or malloc'ed, the caller frees it */
};

/*
 * Read the marks of a directory. middle: there is a layer below, so it is read
 * for `.wh.` files too, and the names that it has or hides are added to names
 * unless that is NULL. fd as in struct part.
 */
int whiteout_read_marks(int fd, bool middle, struct name_set *names, struct marks *m);

/* Whether st, found as name in part p, is itself a whiteout. */
bool whiteout_is(const struct part *p, const char *name, const struct stat *st);

/* Whether part p hides name below itself by a `.wh.` file; 1, 0 or -errno. */
int whiteout_beside(const struct part *p, const char *name);

/* ".wh." name; -ENAMETOOLONG when there is no room. */
int whiteout_name(const char *name, char buf[256]);

/*
 * Put a whiteout of name into the upper directory d, where no entry of that
 * name is (format wh: may be, and stays visible). -EEXIST is success.
 */
int whiteout_create(const struct ovl *o, struct dir *d, const char *name);

/*
 * Make room for a new entry called name: a whiteout of that very name becomes
 * a `.wh.` file beside it, which goes on hiding what is below. *was says
 * whether any whiteout of name is there.
 */
int whiteout_set_aside(const struct ovl *o, struct dir *d, const char *name, bool *was);

/* Remove the upper's `.wh.` whiteout of name, after its new entry is in place. */
int whiteout_clear(const struct ovl *o, struct dir *d, const char *name);

/*
 * Take an entry of the upper away and leave a whiteout, so that at no moment
 * the lower one shows. A directory goes to the work directory and is removed.
 */
int whiteout_replace(const struct ovl *o, struct dir *d, const char *name, bool isdir);

/*
 * Remove a directory of the upper that shows nothing, with the markers in it;
 * nothing is below, or a whiteout is beside it.
 */
int whiteout_remove_dir(const struct ovl *o, struct dir *d, const char *name);

/*
 * Make a directory of the upper that shows nothing but has markers inside empty:
 * it becomes opaque by its attribute, then the markers go. -EOPNOTSUPP: there are
 * no attributes.
 */
int whiteout_empty(const struct ovl *o, struct at dir);

/*
 * Rename name of the upper directory d to `to`, leaving a whiteout in its place.
 * flags: 0, or RENAME_EXCHANGE when a directory is in the way that shows
 * nothing but has markers inside: it is removed.
 */
int whiteout_rename(const struct ovl *o, struct dir *d, const char *name, struct at to,
		    unsigned flags);

/*
 * Mark a directory of the upper opaque, below which nothing lies in its present
 * place. bare: by the attribute only. Whiteouts by attribute inside, which would
 * become visible, are turned into `.wh.` files.
 */
int whiteout_set_opaque(const struct ovl *o, struct at dir, bool bare);

/*
 * Remove the whiteouts and redirects in an opaque directory of the upper and
 * below, where all that is merged has been copied up: kernel overlayfs lists the
 * whiteouts that it does not expect, and a redirect leads out of what is opaque.
 */
int whiteout_strip(struct at dir);

/* Say where the lower part of a directory of the upper lies; take that back. */
int whiteout_set_redirect(const struct ovl *o, struct at dir, const char *path);
int whiteout_clear_redirect(struct at dir);

/* Make a directory of the upper neither opaque nor redirected. Its times stay. */
int whiteout_clear_marks(struct at dir);

/*
 * The whiteout of name in directory fd of a layer, of any form, with its own
 * attributes. -ENOENT when there is none.
 */
int whiteout_stat(const struct part *p, const char *name, struct stat *st);

/* Remove every whiteout of name from the upper, where it hides nothing. */
int whiteout_remove(const struct part *p, const char *name);

/*
 * Whether a whiteout of the upper has another form than o->format writes, and
 * giving it that form; at every moment one is there. 1, 0 or -errno; 0 or -errno.
 * A name that has no room for `.wh.` may have any form of its own name.
 */
int whiteout_other_form(const struct ovl *o, const struct part *p, const char *name);
int whiteout_convert(const struct ovl *o, struct dir *d, const char *name);

/*
 * The same for the marks of a directory of the upper, opaque and redirect. below:
 * something is below that shows when a program knows no other form.
 */
int whiteout_other_marks(const struct ovl *o, struct at dir, bool below);
int whiteout_convert_marks(const struct ovl *o, struct at dir, bool below);

/*
 * The directory p of the upper has no whiteouts by attribute any more: take away
 * what says that it has. 0 or -errno.
 */
int whiteout_clear_attribute_mark(struct part *p);

#endif
