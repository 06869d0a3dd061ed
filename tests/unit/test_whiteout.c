/* SPDX-License-Identifier: ISC */
/* Markers on disk, in each format. */
#include <errno.h>
#include <sys/sysmacros.h>

#include "unit.h"
#include "whiteout.h"

static bool visible(const struct ovl *o, const char *path)
{
	struct entry e;

	if (layers_lookup(o, path, &e) != 0)
		return false;
	entry_done(o, &e);
	return true;
}

static void build(void)
{
	static const char *const dirs[] = {"u", "a", "a/dir", "u/dir", "a/sub", "u/sub"};
	static const char *const files[] = {"a/f", "a/g",      "u/g",	"a/h",
					    "u/h", "a/dir/in", "a/both"};

	for (size_t i = 0; i < sizeof(dirs) / sizeof(dirs[0]); i++)
		make_dir(dirs[i]);
	for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++)
		make_file(files[i]);
}

static void test_format(enum whiteout_format format, const char *what)
{
	char longest[256], path[300];
	struct ovl o;
	struct dir *top;
	struct part *p;
	bool was;

	unit_begin();
	build();
	memset(longest, 'n', 255);
	longest[255] = '\0';
	snprintf(path, sizeof(path), "a/%s", longest);
	make_file(path);
	stack_begin(&o, format);
	layers_dir(&o, "", &top);
	p = dir_upper(&o, top);

	ok(whiteout_create(&o, top, "f") == 0 && !visible(&o, "/f"), "%s: a lower file goes", what);
	ok(whiteout_create(&o, top, "f") == 0, "%s: twice is no error", what);
	ok(whiteout_replace(&o, top, "g", false) == 0 && !visible(&o, "/g"),
	   "%s: an upper file goes and the lower one stays hidden", what);
	ok(whiteout_replace(&o, top, "dir", true) == 0, "%s: a directory goes", what);
	layers_drop_tree(&o, "/dir");
	ok(!visible(&o, "/dir") && !visible(&o, "/dir/in"), "%s: with all in it", what);
	ok(whiteout_rename(&o, top, "h", (struct at){p->fd, "h2"}, 0) == 0 && !visible(&o, "/h") &&
		   visible(&o, "/h2"),
	   "%s: a rename leaves a whiteout", what);
	ok(whiteout_create(&o, top, longest) == 0, "%s: a name of 255 bytes", what);
	ok(!visible(&o, path + 1), "%s: is hidden", what);
	ok(whiteout_set_aside(&o, top, "f", &was) == 0 && was && !visible(&o, "/f") &&
		   !exists("u/f"),
	   "%s: a whiteout makes room and goes on hiding", what);
	make_file("u/f");
	ok(visible(&o, "/f"), "%s: for an entry that shows", what);
	ok(whiteout_clear(&o, top, "f") == 0 && visible(&o, "/f") && !exists("u/.wh.f"),
	   "%s: and is cleared", what);
	ok(whiteout_set_opaque(&o, (struct at){p->fd, "sub"}, false) == 0 &&
		   exists("u/sub/.wh..wh..opq") == (format == WHITEOUT_WH),
	   "%s: an opaque directory has the file of its format", what);
	dir_put(&o, top);
	stack_end(&o);
	unit_remove();
}

int main(void)
{
	test_format(WHITEOUT_WH, "wh");
	test_format(WHITEOUT_CHARDEV, "chardev");
	test_format(WHITEOUT_XATTR, "xattr");
	return unit_end();
}
