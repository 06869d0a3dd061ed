/* SPDX-License-Identifier: ISC */
/* Inode numbers, and the index of files with several names. */
#include "unit.h"

#include "copyup.h"
#include "entries.h"
#include "rename.h"

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

/* What the next file that gets the inode would have. */
static uint64_t next_number(const struct ovl *o, const struct stat *st)
{
	struct entry e = {.part = 0, .upper = true, .st = *st, .at = {o->layer[0].fd, "own"}};
	struct dir *d;

	if (layers_dir(o, "", &d) != 0)
		return 0;
	e.dir = d;
	e.st.st_mode = S_IFREG | 0644;
	inodes_entry_number(o, &e);
	dir_put(o, d);
	return e.ino;
}

/* A directory that is copied up, and whose number is in memory only. */
static struct stat keep_dir(const struct ovl *o, const char *path)
{
	struct dir *d;
	struct stat st = {0};

	if (layers_dir(o, path, &d) != 0)
		return st;
	if (copyup_dir(o, &d) == 0 && at_stat((struct at){dir_upper(o, d)->fd, ""}, &st, 0) == 0)
		inodes_keep(o, &st, 0x4321);
	dir_put(o, d);
	layers_drop(o, path);
	return st;
}

static void test_memory(const struct ovl *o)
{
	struct at staged = {o->workfd, "#test"};
	struct stat st = keep_dir(o, "/removed");

	ok(number(o, "/removed") == 0x4321, "a number in memory counts");
	ok(entries_rmdir(o, "/removed") == 0 && next_number(o, &st) == inodes_identity(o, &st),
	   "it goes with its directory");
	st = keep_dir(o, "/over");
	ok(rename_entry(o, "/d", "/over", 0) == 0 && next_number(o, &st) == inodes_identity(o, &st),
	   "and with one that another is renamed over");
	close(at_open(staged, O_WRONLY | O_CREAT | O_EXCL, 0644));
	at_stat(staged, &st, 0);
	inodes_keep(o, &st, 0x4321);
	work_discard(o, staged);
	ok(next_number(o, &st) == inodes_identity(o, &st), "and with a copy that is given up");
}

int main(void)
{
	struct ovl o;

	unit_begin();
	make_dir("u");
	make_dir("a");
	make_dir("a/d");
	make_dir("a/was");
	make_dir("a/removed");
	make_dir("a/over");
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
	test_memory(&o);
	stack_end(&o);
	stack_begin(&o, WHITEOUT_WH);
	ok(links(&o, "/two") == 1, "the index is read again at the next start");
	stack_end(&o);
	unit_remove();
	return unit_end();
}
