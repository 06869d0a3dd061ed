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
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#include "backing.h"
#include "files.h"
#include "nodes.h"
#include "readers.h"

#define TMPFILE_NAME ".fuse_hidden_tmp_%08lx"

/*
 * What linux/fuse.h has for passthrough since 6.9, at places that older ones have
 * as padding: flags of INIT from the 32nd bit on, and what follows them there.
 */
enum { INIT_PASSTHROUGH = 1 << (37 - 32), OPEN_PASSTHROUGH = 1 << 7 };

struct init_more {
	uint32_t flags2;
	uint32_t max_stack_depth;
};

struct open_out {
	uint64_t fh;
	uint32_t open_flags;
	int32_t backing_id;
};

/* Requests up to this size can be asked again; they are the ones with a path. */
enum { AGAIN_SIZE = 512 };

/* The request that this thread works on. The buffer is libfuse's. */
static _Thread_local struct {
	uint32_t opcode;
	uint64_t unique;
	uint64_t known;	      /* the inode that it is about, for the kernel */
	uint64_t node;	      /* and for libfuse */
	uint64_t used;	      /* what is to be given back with nodes_done, or 0 */
	const char *new_name; /* of a rename */
	uint64_t linked;      /* the inode that gets a further name */
	size_t room;
	char tmpfile[32];
	bool clears_set_id;
	uint32_t init_flags; /* that the kernel offers */
	uint32_t init_flags2;
	struct hidden *hidden; /* what it is about, when libfuse may have no path */
	uint64_t given;	       /* the node that the reply tells the kernel of */
	bool ask;	       /* the next notification is only to tell a node's number */
	uint64_t answer;
	bool again; /* it is to be read once more */
	size_t len;
	char request[AGAIN_SIZE];
} now;

static atomic_ulong spliced; /* replies, see wire_splice_send */

/* All are set once, before the first request but for the last. */
static const struct ovl *ovl;
static struct fuse_session *session;
static struct nodes *nodes;
static bool long_setxattr; /* requests have a field that libfuse does not know */
static bool killpriv;	   /* and flags for clearing set-id bits */

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

/*
 * When root writes to a file with a capability, the kernel removes that and then
 * sends a change of nothing, as for a chown that changes nobody.
 */
static atomic_ullong last_uncapped;

static uint64_t caller_and_node(const struct fuse_in_header *h)
{
	return (uint64_t)h->pid << 40 ^ h->nodeid;
}

static void see_removexattr(const struct fuse_in_header *h, const char *name)
{
	if (strcmp(name, "security.capability") == 0)
		last_uncapped = caller_and_node(h);
}

static void see_setattr(const struct fuse_in_header *h, struct fuse_setattr_in *in)
{
	static const uint32_t nothing = FATTR_FH | FATTR_LOCKOWNER | FATTR_KILL_SUIDGID;
	struct hidden *hidden = files_hidden_node(ovl, h->nodeid);

	if (hidden != NULL && !(in->valid & FATTR_FH)) {
		in->valid |= FATTR_FH;
		in->fh = (uintptr_t)&hidden->file;
	}
	/* Only the set-id bits are to go: libfuse would do nothing, chown does it. */
	if ((in->valid | nothing) == nothing &&
	    (h->uid != 0 || last_uncapped != caller_and_node(h))) {
		in->valid |= FATTR_UID;
		in->uid = (uint32_t)-1;
	}
	last_uncapped = 0;
}

/* Have libfuse forget one of its nodes. */
static void forget_node(uint64_t node, uint64_t times)
{
	struct {
		struct fuse_in_header h;
		struct fuse_forget_in in;
	} request = {.h = {.len = sizeof(request), .opcode = FUSE_FORGET, .nodeid = node},
		     .in = {.nlookup = times}};
	struct fuse_buf buf = {.size = sizeof(request), .mem = &request};

	fuse_session_process_buf(session, &buf);
}

/* What we keep for a node goes with it. */
static void forget_kept(uint64_t node)
{
	files_forget_node(ovl, node);
	backing_forget(node);
}

/* The thread may be ended while it reads, but not in here. */
static void forget_parts(struct nodes_part *p)
{
	struct nodes_part *next;
	int state;

	pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &state);
	for (; p != NULL; p = next) {
		next = p->next;
		forget_kept(p->node);
		if (p->times > 0)
			forget_node(p->node, p->times);
		free(p);
	}
	pthread_setcancelstate(state, &state);
}

/* What the kernel forgets; returns what libfuse is to be asked instead: the root is nothing. */
static uint64_t see_forget(uint64_t node, uint64_t n)
{
	struct nodes_part *parts;

	if (nodes_forget(nodes, node, n, &parts)) {
		forget_parts(parts);
		return FUSE_ROOT_ID;
	}
	forget_kept(node);
	return node;
}

static void see_forgets(struct fuse_batch_forget_in *in, size_t size)
{
	struct fuse_forget_one *one = (void *)(in + 1);

	for (uint32_t i = 0; i < in->count && (i + 1) * sizeof(*one) + sizeof(*in) <= size; i++)
		one[i].nodeid = see_forget(one[i].nodeid, one[i].nlookup);
}

/* A request by path that goes to the descriptor of a hidden file instead: the root has a path. */
static uint64_t see_hidden(uint64_t node)
{
	now.hidden = files_hidden_node(ovl, node);
	return now.hidden != NULL ? FUSE_ROOT_ID : node;
}

static uint64_t use(uint64_t node)
{
	bool used;

	node = nodes_route(nodes, node, &used);
	if (used)
		now.used = node;
	return node;
}

static void see_link(struct fuse_link_in *in)
{
	now.linked = now.known = in->oldnodeid;
	in->oldnodeid = see_hidden(use(in->oldnodeid));
	now.node = in->oldnodeid;
}

/* What libfuse takes for the name begins eight bytes later when the field is there. */
static void see_setxattr(struct fuse_in_header *h, char *arg)
{
	const struct fuse_setxattr_in *in = (const void *)arg;

	if (!long_setxattr)
		return;
	now.clears_set_id = in->setxattr_flags & FUSE_SETXATTR_ACL_KILL_SGID;
	memmove(arg + FUSE_COMPAT_SETXATTR_IN_SIZE, in + 1, h->len - sizeof(*h) - sizeof(*in));
	h->len -= (uint32_t)(sizeof(*in) - FUSE_COMPAT_SETXATTR_IN_SIZE);
}

/* Whether a change is to clear set-id bits; where the kernel has no flag, ask who it is. */
static bool see_clears(const struct fuse_in_header *h, const char *arg)
{
	uint32_t flags;

	switch (h->opcode) {
	case FUSE_SETATTR:
		return ((const struct fuse_setattr_in *)(const void *)arg)->valid &
		       FATTR_KILL_SUIDGID;
	case FUSE_OPEN:
		flags = ((const struct fuse_open_in *)(const void *)arg)->open_flags;
		return killpriv ? flags & FUSE_OPEN_KILL_SUIDGID : h->uid != 0;
	case FUSE_CREATE:
		flags = ((const struct fuse_create_in *)(const void *)arg)->open_flags;
		return killpriv ? flags & FUSE_OPEN_KILL_SUIDGID : h->uid != 0;
	case FUSE_WRITE:
		return ((const struct fuse_write_in *)(const void *)arg)->write_flags &
		       FUSE_WRITE_KILL_SUIDGID;
	case FUSE_FALLOCATE:
	case FUSE_COPY_FILE_RANGE:
		return h->uid != 0;
	default:
		return false;
	}
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

/* The node that a request is about: one that can be used. */
static void see_node(struct fuse_in_header *h, const char *arg)
{
	const struct file *f;

	now.known = h->nodeid;
	if (h->opcode == FUSE_RELEASE) { /* libfuse counts what is open by node */
		f = (void *)(uintptr_t)((const struct fuse_release_in *)(const void *)arg)->fh;
		h->nodeid = f->node;
		now.used = f->node_used ? f->node : 0;
	} else if (h->opcode != FUSE_FORGET) {
		h->nodeid = use(h->nodeid);
	}
}

static void see_offer(const struct fuse_init_in *in)
{
	now.init_flags = in->flags;
	now.init_flags2 = in->flags & FUSE_INIT_EXT ? in->flags2 : 0;
}

static void see_request(void *buf)
{
	struct fuse_in_header *h = buf;
	char *arg = (char *)(h + 1);

	now.len = h->len <= AGAIN_SIZE ? h->len : 0;
	memcpy(now.request, buf, now.len);
	now.opcode = h->opcode;
	now.unique = h->unique;
	now.new_name = NULL;
	now.tmpfile[0] = '\0';
	now.hidden = NULL;
	now.given = 0;
	now.clears_set_id = see_clears(h, arg);
	see_node(h, arg);
	now.node = h->nodeid;
	switch (h->opcode) {
	case FUSE_INIT:
		see_offer((const void *)arg);
		break;
	case FUSE_GETATTR:
		see_getattr(h, (void *)arg);
		break;
	case FUSE_SETATTR:
		see_setattr(h, (void *)arg);
		break;
	case FUSE_SETXATTR:
		see_setxattr(h, arg);
		h->nodeid = see_hidden(h->nodeid);
		break;
	case FUSE_REMOVEXATTR:
		see_removexattr(h, arg);
		now.node = h->nodeid = see_hidden(h->nodeid);
		break;
	case FUSE_GETXATTR:
	case FUSE_LISTXATTR:
	case FUSE_READLINK:
	case FUSE_OPEN:
	case FUSE_OPENDIR: /* the kernel lists nothing of what was removed */
	case FUSE_LSEEK:
		now.node = h->nodeid = see_hidden(h->nodeid);
		break;
	case FUSE_FORGET:
		h->nodeid = see_forget(h->nodeid, ((struct fuse_forget_in *)(void *)arg)->nlookup);
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
		see_link((void *)arg);
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
	ssize_t n;

	(void)userdata;
	if (now.used != 0)
		forget_parts(nodes_done(nodes, now.used));
	now.used = 0;
	if (now.again) {
		now.again = false;
		n = (ssize_t)now.len;
		memcpy(buf, now.request, now.len);
	} else {
		readers_wait(fd);
		n = read(fd, buf, size);
		atomic_load(&spliced);
		readers_work();
		/* The mount went while the kernel gave us a request; libfuse knows the usual error. */
		if (n == -1 && errno == ECONNABORTED)
			errno = ENODEV;
	}
	if (n < (ssize_t)sizeof(struct fuse_in_header))
		return n;
	see_request(buf);
	return ((struct fuse_in_header *)buf)->len;
}

/* Replies. */

/* What the kernel offers and libfuse 3.14 does not know. */
static void see_init(struct fuse_init_out *out)
{
	killpriv = now.init_flags & FUSE_HANDLE_KILLPRIV_V2;
	out->flags |= now.init_flags & (FUSE_HANDLE_KILLPRIV_V2 | FUSE_PARALLEL_DIROPS);
	long_setxattr = (now.init_flags & ~out->flags) & FUSE_SETXATTR_EXT;
	if (long_setxattr)
		out->flags |= FUSE_SETXATTR_EXT;
	if (ovl->privileged && ovl->writable && (now.init_flags2 & INIT_PASSTHROUGH)) {
		struct init_more *more = (void *)&out->flags2;

		out->flags |= FUSE_INIT_EXT;
		more->flags2 |= INIT_PASSTHROUGH;
		more->max_stack_depth = 1; /* kernel overlayfs can still lie on us */
		backing_enable(fuse_session_fd(session));
	}
}

/* What the kernel has kept of those of the inode that this is about; no pages. */
static void drop_attributes(void)
{
	fuse_lowlevel_notify_inval_inode(session, now.known, -1, 0);
}

/* The kernel is not to keep the times of what may be changed without notice. */
static void see_attr(uint64_t known, uint64_t *valid, uint32_t *valid_nsec)
{
	if (backing_maps(known))
		*valid = *valid_nsec = 0;
}

static void see_entry(struct fuse_entry_out *e)
{
	if (e->nodeid == 0 || S_ISDIR(e->attr.mode))
		return;
	now.given = e->nodeid;
	e->nodeid = nodes_give(nodes, e->nodeid, e->attr.ino, e->attr.nlink > 1, &e->generation);
	see_attr(e->nodeid, &e->attr_valid, &e->attr_valid_nsec);
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
	now.given = 0; /* libfuse takes none of them back */
}

/*
 * libfuse counts what is open by node: remember which. A file of the upper is left to
 * the kernel, where it can.
 */
static void see_open(struct open_out *out, uint64_t node, uint64_t known)
{
	struct file *f = (struct file *)(uintptr_t)out->fh;

	f->node = node;
	f->node_used = nodes_use(nodes, node);
	f->backing = backing_open(known, f, &out->backing_id);
	if (out->backing_id != 0)
		out->open_flags = OPEN_PASSTHROUGH; /* pages that were kept are dropped */
}

static void see_create(struct fuse_entry_out *e)
{
	if (now.tmpfile[0] != '\0')
		files_set_node(ovl, now.tmpfile, e->nodeid);
	see_entry(e);
	see_open((void *)(e + 1), now.given, e->nodeid);
	see_attr(e->nodeid, &e->attr_valid, &e->attr_valid_nsec);
}

static void see_linked(struct fuse_entry_out *e)
{
	nodes_linked(nodes, now.linked, e->attr.ino);
	if (now.hidden != NULL)
		nodes_nameless(nodes, now.linked, true, false);
	see_entry(e);
}

static void see_reply(const struct iovec *arg)
{
	struct fuse_entry_out *e = arg->iov_base;
	struct fuse_attr_out *attr = arg->iov_base;
	bool maps;

	switch (now.opcode) {
	case FUSE_INIT:
		see_init(arg->iov_base);
		break;
	case FUSE_LOOKUP:
	case FUSE_MKNOD:
	case FUSE_SYMLINK:
		see_entry(e);
		break;
	case FUSE_LINK:
		see_linked(e);
		break;
	case FUSE_CREATE:
		see_create(e);
		break;
	case FUSE_OPEN:
		maps = backing_maps(now.known);
		see_open(arg->iov_base, now.node, now.known);
		if (!maps && backing_maps(now.known))
			drop_attributes();
		break;
	case FUSE_GETATTR:
	case FUSE_SETATTR:
		see_attr(now.known, &attr->attr_valid, &attr->attr_valid_nsec);
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

/*
 * Data go through a pipe, as without custom I/O; there is nothing to see in them. What
 * was done before is over when another thread reads a request that follows the reply:
 * of splice(2), ThreadSanitizer does not know that.
 */
static ssize_t wire_splice_send(int fdin, off_t *offin, int fdout, off_t *offout, size_t size,
				unsigned flags, void *userdata)
{
	(void)userdata;
	spliced++;
	return splice(fdin, offin, fdout, offout, size, flags);
}

/* libfuse speaks to the kernel on its own; returns true when that is only for us. */
static bool see_notice(const struct fuse_out_header *out, struct iovec *arg)
{
	struct fuse_notify_inval_inode_out *inval = arg->iov_base;

	if (out->error != FUSE_NOTIFY_INVAL_INODE)
		return false;
	now.answer = inval->ino;
	inval->ino = nodes_known(nodes, inval->ino);
	return now.ask;
}

/*
 * libfuse has no path for the node any more. Another name of the file may be used, or
 * found: on ESTALE the kernel looks up once more. Returns true when the request is
 * to be asked again.
 */
static bool see_stale(struct fuse_out_header *out)
{
	if (files_hidden_node(ovl, now.node) == NULL)
		nodes_nameless(nodes, now.node, false, false);
	now.again = now.len > 0 && nodes_best(nodes, now.known) != now.node;
	if (!now.again && !nodes_has_name(nodes, now.known))
		out->error = -ENOENT;
	return now.again;
}

static ssize_t wire_writev(int fd, struct iovec *iov, int count, void *userdata)
{
	struct fuse_out_header *out = iov[0].iov_base;
	ssize_t n;

	(void)userdata;
	if (out->unique == 0) {
		if (count > 1 && see_notice(out, &iov[1]))
			return out->len;
	} else if (out->error == -ESTALE) {
		if (out->unique == now.unique && see_stale(out))
			return out->len;
	} else if (out->error == 0 && out->unique == now.unique && count > 1 &&
		   iov[1].iov_len > 0) {
		see_reply(&iov[1]);
	}
	n = writev(fd, iov, count);
	if (n == -1 && errno == ENOENT && now.given != 0 && out->unique == now.unique) {
		forget_parts(nodes_take_back(nodes, now.given));
		errno = ENOENT;
	}
	return n;
}

int wire_attach(struct fuse_session *se, const struct ovl *o)
{
	static const struct fuse_custom_io io = {
		.read = wire_read, .writev = wire_writev, .splice_send = wire_splice_send};

	ovl = o;
	session = se;
	nodes = nodes_new();
	if (nodes == NULL)
		return -ENOMEM;
	return fuse_session_custom_io(se, &io, fuse_session_fd(se));
}

void wire_detach(void)
{
	nodes_free(nodes);
	backing_enable(-1);
}

/* What the callbacks ask. */

bool wire_is_lookup(void)
{
	return now.opcode == FUSE_LOOKUP;
}

uint64_t wire_getattr_node(void)
{
	return now.opcode == FUSE_GETATTR ? now.node : 0;
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

bool wire_clears_set_id(void)
{
	return now.clears_set_id;
}

void wire_mode_changed(void)
{
	drop_attributes();
}

bool wire_may_write(void)
{
	return backing_writes(now.known);
}

bool wire_is_unprivileged(void)
{
	return fuse_get_context()->uid != 0;
}

bool wire_is_user(uid_t uid)
{
	return fuse_get_context()->uid == uid;
}

bool wire_in_group(gid_t gid)
{
	gid_t list[64], *all = list;
	int n = fuse_getgroups(64, list);
	bool found = fuse_get_context()->gid == gid;

	if (n > 64 && (all = calloc((size_t)n, sizeof(*all))) != NULL)
		n = fuse_getgroups(n, all);
	for (int i = 0; all != NULL && i < n && !found; i++)
		found = all[i] == gid;
	if (all != list)
		free(all);
	return found;
}

bool wire_knows(uint64_t inode)
{
	return nodes_has(nodes, inode);
}

void wire_nameless(uint64_t node, bool hidden, bool last)
{
	nodes_nameless(nodes, node, hidden, last);
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
