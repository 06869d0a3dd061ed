/* SPDX-License-Identifier: ISC */
/* How a path becomes a file of a layer. */
#include <errno.h>

#include "unit.h"

/* The layer that shows path, or -errno. */
static int shown_by(const struct ovl *o, const char *path)
{
	struct entry e;
	int r = layers_lookup(o, path, &e);

	if (r != 0)
		return r;
	r = (int)e.dir->part[e.part].layer;
	entry_done(o, &e);
	return r;
}

static unsigned nparts(const struct ovl *o, const char *path)
{
	struct dir *d;
	unsigned n;

	if (layers_dir(o, path, &d) != 0)
		return 0;
	n = d->nparts;
	dir_put(o, d);
	return n;
}

static void build(void)
{
	static const char *const dirs[] = {
		"u",	     "a",	"b",	   "u/op",	"b/op",	    "u/op/deep",
		"b/op/deep", "a/mixed", "b/mixed", "a/fdir",	"u/link",   "b/was",
		"b/was/sub", "u/now",	"u/esc",   "u/esc2",	"a/link.d", "a/whdir",
		"b/whdir",   "u/esc3",	"b/rel",   "u/renamed",
	};
	static const char *const files[] = {
		"u/x",	     "a/x",	   "b/x",     "a/onlya",     "b/onlyb",	    "u/.wh.onlyb",
		"b/back",    "a/.wh.back", "a/back",  "b/op/f",	     "b/op/deep/f", "a/mixed/1",
		"b/mixed/2", "b/fdir",	   "b/was/f", "a/.wh.whdir", "b/whdir/old", "b/rel/f",
	};

	for (size_t i = 0; i < sizeof(dirs) / sizeof(dirs[0]); i++)
		make_dir(dirs[i]);
	for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++)
		make_file(files[i]);
	if (symlink("/etc", in("b/link")) == -1)
		err(1, "link");
	mark("u/op", "user.overlay.opaque", "y");
	mark("u/now", "user.overlay.redirect", "/was");
	mark("u/renamed", "user.overlay.redirect", "rel");
	mark("u/esc", "user.overlay.redirect", "/../../etc");
	mark("u/esc2", "user.overlay.redirect", "..");
	mark("u/esc3", "user.overlay.redirect", "a/../..");
}

static void test_lookup(const struct ovl *o)
{
	char name[300] = "/";

	ok(shown_by(o, "/x") == 0, "the top layer's file is found");
	ok(shown_by(o, "/onlya") == 1, "a lower's file is found");
	ok(shown_by(o, "/onlyb") == -ENOENT, "a whiteout hides the layers below");
	ok(shown_by(o, "/back") == 1, "an entry beside its whiteout is visible");
	ok(shown_by(o, "/none") == -ENOENT, "what no layer has is not there");
	ok(shown_by(o, "/x/y") == -ENOTDIR, "a file is no directory");
	ok(shown_by(o, "/.wh.onlyb") == -ENOENT, "a reserved name is not there");
	memset(name + 1, 'n', 256);
	ok(shown_by(o, name) == -ENAMETOOLONG, "a name of 256 bytes is too long");
	name[256] = '\0';
	ok(shown_by(o, name) == -ENOENT, "a name of 255 bytes is not");
}

static void test_dirs(const struct ovl *o)
{
	ok(nparts(o, "") == 3, "the root has a part in each layer");
	ok(nparts(o, "/mixed") == 2, "directories merge");
	ok(nparts(o, "/op") == 1, "an opaque directory hides those below");
	ok(nparts(o, "/op/deep") == 1, "and what they hold, at any depth");
	ok(shown_by(o, "/op/deep/f") == -ENOENT, "also files");
	ok(nparts(o, "/fdir") == 1, "a directory over a file stands alone");
	ok(nparts(o, "/link") == 1, "a link below a directory is not followed");
	ok(shown_by(o, "/link/passwd") == -ENOENT, "nothing shows through it");
	ok(nparts(o, "/whdir") == 1, "a directory beside its whiteout stands alone");
	ok(shown_by(o, "/whdir/old") == -ENOENT, "without what it replaced");
}

static void test_redirects(const struct ovl *o)
{
	ok(shown_by(o, "/now/f") == 2, "a redirect leads to the lower part");
	ok(nparts(o, "/now/sub") == 1, "and to what is below it");
	ok(shown_by(o, "/renamed/f") == 2, "a relative redirect names a sibling");
	ok(shown_by(o, "/esc/passwd") == -ENOENT && nparts(o, "/esc") == 1,
	   "a redirect cannot lead out of its layer");
	ok(nparts(o, "/esc2") == 1 && nparts(o, "/esc3") == 1, "nor can a relative one");
}

static void test_cache(const struct ovl *o)
{
	struct dir *one, *two;

	layers_dir(o, "/mixed", &one);
	layers_dir(o, "/mixed", &two);
	ok(one == two, "a directory is loaded once");
	dir_put(o, two);
	layers_drop(o, "/mixed");
	layers_dir(o, "/mixed", &two);
	ok(one != two, "and again after it was dropped");
	dir_put(o, two);
	ok(one->nparts == 2, "while its last user keeps the old one");
	dir_put(o, one);
	layers_dir(o, "/op/deep", &one);
	layers_drop_tree(o, "/op");
	layers_dir(o, "/op/deep", &two);
	ok(one != two, "dropping a tree drops what is in it");
	dir_put(o, one);
	dir_put(o, two);
}

int main(void)
{
	struct ovl o;

	unit_begin();
	build();
	stack_begin(&o, WHITEOUT_WH);
	test_lookup(&o);
	test_dirs(&o);
	test_redirects(&o);
	test_cache(&o);
	stack_end(&o);
	unit_remove();
	return unit_end();
}
