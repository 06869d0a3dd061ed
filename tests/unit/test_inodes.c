/* SPDX-License-Identifier: ISC */
/* Inode numbers, and the index of files with several names. */
#include "unit.h"

static uint64_t number(const struct ovl *o, const char *path)
{
	struct entry e;
	uint64_t ino;

	if (layers_lookup(o, path, &e) != 0)
		return 0;
	ino = e.ino;
	entry_done(o, &e);
	return ino;
}

static nlink_t links(const struct ovl *o, const char *path)
{
	struct entry e;

	if (layers_lookup(o, path, &e) != 0)
		return 0;
	inodes_present(o, e.ino, &e.st);
	entry_done(o, &e);
	return e.st.st_nlink;
}

static void test_numbers(const struct ovl *o)
{
	ok(number(o, "/f") == inodes_path_number(inodes_root_number(), "f"),
	   "a lower file has the hash of its path");
	ok(number(o, "/d/f") ==
		   inodes_path_number(inodes_path_number(inodes_root_number(), "d"), "f"),
	   "name by name");
	ok(number(o, "/one") == number(o, "/two") && number(o, "/one") != 0,
	   "the names of one file have one number");
	ok(number(o, "/own") != inodes_path_number(inodes_root_number(), "own"),
	   "a file of the upper has its identity's");
	ok(number(o, "/stored") == 0x1234, "a number that is stored counts");
	ok(number(o, "/moved/f") == inodes_path_number(0x777, "f"),
	   "the files of a moved directory keep theirs");
}

static void test_index(const struct ovl *o)
{
	struct at staged = {o->workfd, "#test"};
	uint64_t ino = number(o, "/one");
	struct entry e;

	ok(links(o, "/one") == 2, "both names are counted");
	layers_lookup(o, "/one", &e);
	close(at_open(staged, O_WRONLY | O_CREAT | O_EXCL, 0644));
	ok(inodes_index_add(o, ino, staged, &e.st) == 0, "a copy is put into the index");
	unlinkat(staged.fd, staged.name, 0);
	entry_done(o, &e);
	layers_lookup(o, "/two", &e);
	ok(e.indexed && e.upper && e.ino == ino, "the other name follows it");
	ok(links(o, "/two") == 2, "both names are still counted");
	ok(inodes_index_take(o, ino, &e.st) == 0 && links(o, "/two") == 1, "one is removed");
	entry_done(o, &e);
}

int main(void)
{
	struct ovl o;

	unit_begin();
	make_dir("u");
	make_dir("a");
	make_dir("a/d");
	make_dir("a/was");
	make_dir("u/moved");
	make_file("a/f");
	make_file("a/d/f");
	make_file("a/was/f");
	make_file("a/one");
	make_file("u/own");
	make_file("u/stored");
	if (link(in("a/one"), in("a/two")) == -1)
		err(1, "link");
	mark("u", "user.overlayfs.numbered", "y");
	mark("u/stored", "user.overlayfs.origin", "1 1234 0 0.000000000 0.000000000");
	mark("u/moved", "user.overlayfs.origin", "1 777 0 0.000000000 0.000000000");
	mark("u/moved", "user.overlay.redirect", "/was");
	stack_begin(&o, WHITEOUT_WH);
	test_numbers(&o);
	test_index(&o);
	stack_end(&o);
	stack_begin(&o, WHITEOUT_WH);
	ok(links(&o, "/two") == 1, "the index is read again at the next start");
	stack_end(&o);
	unit_remove();
	return unit_end();
}
