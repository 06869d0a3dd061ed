/* SPDX-License-Identifier: ISC */
/* What happens to a file beside the layers when one of its names goes; see leaving.h. */
#include "leaving.h"

#include <string.h>

#include "entries.h"
#include "files.h"
#include "inodes.h"
#include "wire.h"

struct leaving leaving_begin(const struct ovl *o, const char *path, const struct entry *e)
{
	bool several = e->st.st_nlink > 1 || wire_knows(e->ino), file = S_ISREG(e->st.st_mode);
	struct leaving l = {.last = true};
	struct stat st = e->st;

	if (several && !S_ISDIR(st.st_mode)) {
		inodes_present(o, e->ino, &st);
		l.last = st.st_nlink <= 1;
	}
	if (several || !file)
		l.node = wire_node(path);
	l.kept = l.node != 0 && !file && files_hide(o, "", l.node, e) == 0;
	return l;
}

/* A directory with markers inside was changed on its way out: not for those who have it open. */
static void settle(const struct ovl *o, uint64_t node)
{
	struct hidden *h = node == 0 ? NULL : files_hidden_node(o, node);
	struct stat st;
	struct at a;

	if (h == NULL || !h->upper || !S_ISDIR(h->st.st_mode))
		return;
	a = (struct at){h->file.fd, ""};
	if (at_stat(a, &st, 0) == 0 && st.st_mode != h->st.st_mode)
		at_chmod(a, h->st.st_mode & 07777);
	at_utimens(a, (struct timespec[]){h->st.st_atim, h->st.st_mtim});
}

void leaving_end(const struct ovl *o, const struct leaving *l, int r)
{
	if (r == 0) {
		wire_nameless(l->node, l->kept, l->last);
		settle(o, l->node);
	} else if (l->kept) {
		files_forget_node(o, l->node);
	}
}

int leaving_hide(const struct ovl *o, const char *path, const char *to)
{
	const char *name = strrchr(to, '/') + 1;
	struct leaving l;
	struct entry e;
	int r = layers_lookup(o, path, &e);

	if (r != 0)
		return r;
	l = leaving_begin(o, path, &e);
	r = files_hide(o, name, 0, &e);
	if (r == 0) {
		l.node = files_hidden(o, to)->nodeid;
		l.kept = true;
		if (!wire_is_rename())
			r = entries_unlink(o, &e);
		leaving_end(o, &l, r);
	}
	entry_done(o, &e);
	return r;
}
