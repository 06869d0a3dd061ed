/* SPDX-License-Identifier: ISC */
/*
 * A look at the messages between libfuse and the kernel, through the session's
 * custom I/O. Nothing is kept but the request in progress.
 */
#define FUSE_USE_VERSION 312
#include "wire.h"

#include <errno.h>
#include <fcntl.h>
#include <fuse.h>
#include <fuse_lowlevel.h>
#include <linux/fuse.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#include "files.h"

#define TMPFILE_NAME ".fuse_hidden_tmp_%08lx"

/* The request that this thread works on. The buffer is libfuse's. */
static _Thread_local struct {
	uint32_t opcode;
	uint64_t unique;
	const char *new_name; /* of a rename */
	uint64_t linked;      /* the inode that gets a further name */
	size_t room;
	char tmpfile[32];
	struct hidden *hidden; /* what it is about, when libfuse may have no path */
	bool ask;	       /* the next notification is only to tell a node's number */
	uint64_t answer;
} now;

static const struct ovl *ovl; /* both are set once, before the first request */
static struct fuse_session *session;

/* Requests. */

/* Let a request about a hidden file carry the file. */
static void see_getattr(const struct fuse_in_header *h, struct fuse_getattr_in *in)
{
	struct hidden *hidden = files_hidden_node(ovl, h->nodeid);

	if (hidden != NULL) {
		in->getattr_flags |= FUSE_GETATTR_FH;
		in->fh = (uintptr_t)&hidden->file;
	}
}

static void see_setattr(const struct fuse_in_header *h, struct fuse_setattr_in *in)
{
	struct hidden *hidden = files_hidden_node(ovl, h->nodeid);

	if (hidden != NULL && !(in->valid & FATTR_FH)) {
		in->valid |= FATTR_FH;
		in->fh = (uintptr_t)&hidden->file;
	}
}

static void see_forgets(const struct fuse_batch_forget_in *in, size_t size)
{
	const struct fuse_forget_one *one = (const void *)(in + 1);

	for (uint32_t i = 0; i < in->count && (i + 1) * sizeof(*one) + sizeof(*in) <= size; i++)
		files_forget_node(ovl, one[i].nodeid);
}

/* O_TMPFILE: a creation with a name that no user can have. */
static void see_tmpfile(struct fuse_in_header *h, struct fuse_create_in *in)
{
	static atomic_ulong counter; /* names need only differ from each other */
	char *name = (char *)(in + 1);

	snprintf(now.tmpfile, sizeof(now.tmpfile), TMPFILE_NAME, ++counter);
	memcpy(name, now.tmpfile, strlen(now.tmpfile) + 1);
	h->opcode = now.opcode = FUSE_CREATE;
	h->len = (uint32_t)((size_t)(name - (char *)h) + strlen(now.tmpfile) + 1);
}

static void see_request(void *buf)
{
	struct fuse_in_header *h = buf;
	char *arg = (char *)(h + 1);

	now.opcode = h->opcode;
	now.unique = h->unique;
	now.new_name = NULL;
	now.tmpfile[0] = '\0';
	now.hidden = NULL;
	switch (h->opcode) {
	case FUSE_GETATTR:
		see_getattr(h, (void *)arg);
		break;
	case FUSE_SETATTR:
		see_setattr(h, (void *)arg);
		break;
	case FUSE_GETXATTR:
	case FUSE_SETXATTR:
	case FUSE_LISTXATTR:
	case FUSE_REMOVEXATTR:
	case FUSE_LSEEK: /* the root always has a path */
		now.hidden = files_hidden_node(ovl, h->nodeid);
		if (now.hidden != NULL)
			h->nodeid = FUSE_ROOT_ID;
		break;
	case FUSE_FORGET:
		files_forget_node(ovl, h->nodeid);
		break;
	case FUSE_BATCH_FORGET:
		see_forgets((void *)arg, h->len - sizeof(*h));
		break;
	case FUSE_RENAME:
		arg += sizeof(struct fuse_rename_in);
		now.new_name = arg + strlen(arg) + 1;
		break;
	case FUSE_RENAME2:
		arg += sizeof(struct fuse_rename2_in);
		now.new_name = arg + strlen(arg) + 1;
		break;
	case FUSE_READDIR:
	case FUSE_READDIRPLUS:
		now.room = ((struct fuse_read_in *)(void *)arg)->size;
		break;
	case FUSE_LINK:
		now.linked = ((struct fuse_link_in *)(void *)arg)->oldnodeid;
		break;
	case FUSE_TMPFILE:
		see_tmpfile(h, (void *)arg);
		break;
	default:
		break;
	}
}

static ssize_t wire_read(int fd, void *buf, size_t size, void *userdata)
{
	ssize_t n = read(fd, buf, size);

	(void)userdata;
	if (n < (ssize_t)sizeof(struct fuse_in_header))
		return n;
	see_request(buf);
	return ((struct fuse_in_header *)buf)->len;
}

/* Replies. */

static bool several_names(const struct fuse_attr *attr)
{
	return attr->nlink > 1 && !S_ISDIR(attr->mode);
}

static void see_attr(struct fuse_attr *attr, uint64_t *valid, uint32_t *valid_nsec)
{
	if (several_names(attr)) {
		*valid = 0;
		*valid_nsec = 0;
	}
}

static void see_entry(struct fuse_entry_out *e)
{
	if (e->nodeid == 0)
		return;
	see_attr(&e->attr, &e->attr_valid, &e->attr_valid_nsec);
	if (several_names(&e->attr)) /* else owner and mode are believed unasked */
		e->entry_valid = e->entry_valid_nsec = 0;
}

static void see_listing(char *p, size_t size)
{
	while (size >= FUSE_NAME_OFFSET_DIRENTPLUS) {
		struct fuse_direntplus *d = (void *)p;
		size_t len = FUSE_DIRENTPLUS_SIZE(d);

		if (len > size)
			break;
		see_entry(&d->entry_out);
		p += len;
		size -= len;
	}
}

static void see_reply(const struct iovec *arg)
{
	struct fuse_attr_out *a = arg->iov_base;
	struct fuse_entry_out *e = arg->iov_base;

	switch (now.opcode) {
	case FUSE_LOOKUP:
	case FUSE_MKNOD:
	case FUSE_SYMLINK:
		see_entry(e);
		break;
	case FUSE_LINK: /* offset -1: its attributes, no pages */
		fuse_lowlevel_notify_inval_inode(session, now.linked, -1, 0);
		see_entry(e);
		break;
	case FUSE_CREATE:
		see_entry(e);
		if (now.tmpfile[0] != '\0')
			files_set_node(ovl, now.tmpfile, e->nodeid);
		break;
	case FUSE_GETATTR:
	case FUSE_SETATTR:
		see_attr(&a->attr, &a->attr_valid, &a->attr_valid_nsec);
		break;
	case FUSE_OPENDIR:
		if (ovl->timeout > 0)
			((struct fuse_open_out *)arg->iov_base)->open_flags |=
				FOPEN_CACHE_DIR | FOPEN_KEEP_CACHE;
		break;
	case FUSE_READDIRPLUS:
		see_listing(arg->iov_base, arg->iov_len);
		break;
	default:
		break;
	}
}

/* Data go through a pipe, as without custom I/O; there is nothing to see in them. */
static ssize_t wire_splice_send(int fdin, off_t *offin, int fdout, off_t *offout, size_t size,
				unsigned flags, void *userdata)
{
	(void)userdata;
	return splice(fdin, offin, fdout, offout, size, flags);
}

static ssize_t wire_writev(int fd, struct iovec *iov, int count, void *userdata)
{
	struct fuse_out_header *out = iov[0].iov_base;

	(void)userdata;
	if (out->unique == 0 && out->error == FUSE_NOTIFY_INVAL_INODE && now.ask) {
		now.answer = ((struct fuse_notify_inval_inode_out *)iov[1].iov_base)->ino;
		return out->len;
	}
	if (out->error == -ESTALE) /* libfuse's word for a directory that was removed */
		out->error = -ENOENT;
	if (out->error == 0 && out->unique == now.unique && count > 1 && iov[1].iov_len > 0)
		see_reply(&iov[1]);
	return writev(fd, iov, count);
}

int wire_attach(struct fuse_session *se, const struct ovl *o)
{
	static const struct fuse_custom_io io = {
		.read = wire_read, .writev = wire_writev, .splice_send = wire_splice_send};

	ovl = o;
	session = se;
	return fuse_session_custom_io(se, &io, fuse_session_fd(se));
}

/* What the callbacks ask. */

bool wire_is_lookup(void)
{
	return now.opcode == FUSE_LOOKUP;
}

struct hidden *wire_hidden(void)
{
	return now.hidden;
}

bool wire_is_rename(void)
{
	return now.opcode == FUSE_RENAME || now.opcode == FUSE_RENAME2;
}

bool wire_is_tmpfile(void)
{
	return now.tmpfile[0] != '\0';
}

bool wire_hides(const char *to)
{
	const char *name = strrchr(to, '/') + 1;

	if (!files_is_hidden_name(name))
		return false;
	return !wire_is_rename() || strcmp(now.new_name, name) != 0;
}

uint64_t wire_node(const char *path)
{
	now.answer = 0;
	now.ask = true;
	fuse_invalidate_path(fuse_get_context()->fuse, path);
	now.ask = false;
	return now.answer;
}

size_t wire_room(void)
{
	return now.room;
}
