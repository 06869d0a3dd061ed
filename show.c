/* SPDX-License-Identifier: ISC */
/*
 * Changes as text. A name may have any bytes: lists quote what would break a
 * line or is no UTF-8, JSON adds the name in Base64 where it is no UTF-8.
 */
#include "show.h"

#include <inttypes.h>
#include <string.h>
#include <sys/sysmacros.h>

#include "patch.h"

static const char *type_name(mode_t mode)
{
	switch (mode & S_IFMT) {
	case S_IFDIR:
		return "dir";
	case S_IFLNK:
		return "link";
	case S_IFIFO:
		return "fifo";
	case S_IFSOCK:
		return "socket";
	case S_IFCHR:
		return "char";
	case S_IFBLK:
		return "block";
	default:
		return "file";
	}
}

/* The length of the UTF-8 character at text, 0 where there is none. */
static size_t utf8(const char *text)
{
	const unsigned char *p = (const unsigned char *)text;
	size_t n;
	uint32_t c;

	if (p[0] < 0x80)
		return p[0] == '\0' ? 0 : 1;
	if (p[0] < 0xc2 || p[0] > 0xf4)
		return 0;
	n = p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 : 4;
	c = p[0] & (0xffu >> (n + 1));
	for (size_t i = 1; i < n; i++) {
		if ((p[i] & 0xc0) != 0x80)
			return 0;
		c = c << 6 | (p[i] & 0x3f);
	}
	/* too long, a surrogate, or beyond the end */
	if ((n == 3 && (c < 0x800 || (c >= 0xd800 && c < 0xe000))) ||
	    (n == 4 && (c < 0x10000 || c > 0x10ffff)))
		return 0;
	return n;
}

static bool is_control(unsigned char c)
{
	return c < ' ' || c == 127;
}

static bool is_plain(const char *path)
{
	for (const char *p = path; *p != '\0';) {
		size_t n = utf8(p);

		if (n == 0 || is_control((unsigned char)*p) || *p == '"' || *p == '\\')
			return false;
		p += n;
	}
	return true;
}

void show_path(FILE *out, const char *path)
{
	if (is_plain(path)) {
		fputs(path, out);
		return;
	}
	putc('"', out);
	for (const char *p = path; *p != '\0';) {
		size_t n = utf8(p);
		unsigned char c = (unsigned char)*p;

		if (c == '"' || c == '\\')
			fprintf(out, "\\%c", c);
		else if (c == '\n' || c == '\t')
			fputs(c == '\n' ? "\\n" : "\\t", out);
		else if (n == 0 || is_control(c))
			fprintf(out, "\\%03o", c);
		else
			fwrite(p, 1, n, out);
		p += n == 0 ? 1 : n;
	}
	putc('"', out);
}

/* JSON. */

static void json_text(FILE *out, const char *text)
{
	putc('"', out);
	for (const char *p = text; *p != '\0';) {
		size_t n = utf8(p);
		unsigned char c = (unsigned char)*p;

		if (n == 0)
			fputs("\\ufffd", out);
		else if (c == '"' || c == '\\')
			fprintf(out, "\\%c", c);
		else if (is_control(c))
			fprintf(out, "\\u%04x", c);
		else
			fwrite(p, 1, n, out);
		p += n == 0 ? 1 : n;
	}
	putc('"', out);
}

static void base64(FILE *out, const char *text)
{
	static const char digits[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	const unsigned char *p = (const unsigned char *)text;

	for (size_t len = strlen(text); len > 0; len -= len < 3 ? len : 3, p += 3) {
		uint32_t v = (uint32_t)p[0] << 16;

		if (len > 1)
			v |= (uint32_t)p[1] << 8;
		if (len > 2)
			v |= p[2];
		putc(digits[v >> 18], out);
		putc(digits[v >> 12 & 63], out);
		putc(len > 1 ? digits[v >> 6 & 63] : '=', out);
		putc(len > 2 ? digits[v & 63] : '=', out);
	}
}

bool show_is_utf8(const char *text)
{
	for (size_t n; *text != '\0'; text += n) {
		n = utf8(text);
		if (n == 0)
			return false;
	}
	return true;
}

static void json_path(FILE *out, const char *key, const char *path)
{
	fprintf(out, ",\"%s\":", key);
	json_text(out, path);
	if (!show_is_utf8(path)) {
		fprintf(out, ",\"%s_base64\":\"", key);
		base64(out, path);
		putc('"', out);
	}
}

static void json_file(FILE *out, const char *key, const struct stat *st)
{
	fprintf(out,
		",\"%s\":{\"type\":\"%s\",\"mode\":\"%04o\",\"uid\":%u,\"gid\":%u,\"size\":%lld,"
		"\"mtime\":\"%lld.%09ld\"",
		key, type_name(st->st_mode), (unsigned)(st->st_mode & 07777), st->st_uid,
		st->st_gid, (long long)st->st_size, (long long)st->st_mtim.tv_sec,
		st->st_mtim.tv_nsec);
	if (S_ISCHR(st->st_mode) || S_ISBLK(st->st_mode))
		fprintf(out, ",\"rdev\":\"%u:%u\"", major(st->st_rdev), minor(st->st_rdev));
	putc('}', out);
}

static const char *const bits[] = {"content", "mode", "owner", "xattr", "time"};
enum { NBITS = sizeof(bits) / sizeof(bits[0]) };

static void show_json(FILE *out, const struct change *x)
{
	static const char *const kinds[] = {"deleted", "added", "renamed", "type", "modified"};
	const char *before = "";

	fprintf(out, "{\"change\":\"%s\"", kinds[x->kind]);
	json_path(out, "path", x->path);
	if (x->kind == CHANGE_RENAMED)
		json_path(out, "from", change_old_path(x));
	if (x->kind == CHANGE_RENAMED || x->kind == CHANGE_MODIFIED) {
		fputs(",\"what\":[", out);
		for (unsigned i = 0; i < NBITS; i++) {
			if (!(x->what & 1u << i))
				continue;
			fprintf(out, "%s\"%s\"", before, bits[i]);
			before = ",";
		}
		putc(']', out);
	}
	if (x->kind == CHANGE_DELETED && S_ISDIR(x->old.st_mode))
		fprintf(out, ",\"below\":%" PRIu64, x->below);
	if (x->kind != CHANGE_ADDED)
		json_file(out, "old", &x->old);
	if (x->kind != CHANGE_DELETED)
		json_file(out, "new", &x->new);
	fputs("}\n", out);
}

/* The list. */

static void show_what(FILE *out, unsigned what)
{
	const char *before = " (";

	for (unsigned i = 0; i < NBITS; i++) {
		if (!(what & 1u << i))
			continue;
		fprintf(out, "%s%s", before, bits[i]);
		before = ", ";
	}
	if (what != 0)
		putc(')', out);
}

static void colour(const struct show *s, const struct change *x)
{
	static const char *const codes[] = {"\033[31m", "\033[32m", "\033[36m", "\033[35m",
					    "\033[33m"};

	if (s->colour)
		fputs(codes[x->kind], s->out);
}

static const char *slash(mode_t mode)
{
	return S_ISDIR(mode) ? "/" : "";
}

void show_line(const struct show *s, const struct change *x)
{
	static const char letters[] = "DARTM";

	colour(s, x);
	fprintf(s->out, "%c ", letters[x->kind]);
	if (x->kind == CHANGE_RENAMED) {
		show_path(s->out, change_old_path(x));
		fputs(" -> ", s->out);
	}
	show_path(s->out, x->path);
	fputs(slash(x->kind == CHANGE_DELETED ? x->old.st_mode : x->new.st_mode), s->out);
	if (x->kind == CHANGE_DELETED && S_ISDIR(x->old.st_mode))
		fprintf(s->out, " (%" PRIu64 " below)", x->below);
	else if (x->kind == CHANGE_TYPE)
		fprintf(s->out, " (%s, was %s)", type_name(x->new.st_mode),
			type_name(x->old.st_mode));
	else
		show_what(s->out, x->what);
	if (s->colour)
		fputs("\033[m", s->out);
	putc('\n', s->out);
}

/* Numbers. */

struct totals {
	uintmax_t n[CHANGE_SAME];
	long long more;
};

static long long size_of(const struct stat *st)
{
	return S_ISREG(st->st_mode) ? (long long)st->st_size : 0;
}

static void show_numbers(const struct show *s, const struct change *x, struct totals *t)
{
	long long before = x->kind == CHANGE_ADDED ? 0 : size_of(&x->old);
	long long after = x->kind == CHANGE_DELETED ? 0 : size_of(&x->new);

	t->n[x->kind]++;
	t->more += after - before;
	colour(s, x);
	fprintf(s->out, "%14lld %+14lld  ", after, after - before);
	show_path(s->out, x->path);
	fputs(slash(x->kind == CHANGE_DELETED ? x->old.st_mode : x->new.st_mode), s->out);
	fputs(s->colour ? "\033[m\n" : "\n", s->out);
}

static void show_totals(const struct show *s, const struct totals *t)
{
	fprintf(s->out,
		"%ju added, %ju modified, %ju renamed, %ju of another type, %ju deleted; "
		"%+lld bytes\n",
		t->n[CHANGE_ADDED], t->n[CHANGE_MODIFIED], t->n[CHANGE_RENAMED], t->n[CHANGE_TYPE],
		t->n[CHANGE_DELETED], t->more);
}

static int show_one(const struct show *s, const struct change *x, struct totals *t)
{
	switch (s->format) {
	case SHOW_LIST:
		show_line(s, x);
		return 0;
	case SHOW_NAMES:
		show_path(s->out, x->path);
		putc('\n', s->out);
		return 0;
	case SHOW_NUL:
		fputs(x->path, s->out);
		putc('\0', s->out);
		return 0;
	case SHOW_STAT:
		show_numbers(s, x, t);
		return 0;
	case SHOW_JSON:
		show_json(s->out, x);
		return 0;
	default:
		return patch_show(s, x);
	}
}

int show_changes(const struct show *s, const struct changes *c, const char **path)
{
	struct totals t = {0};
	int r = 0;

	*path = NULL;
	for (size_t i = 0; r == 0 && i < c->n; i++) {
		const struct change *x = &c->list[i];

		if (x->left_out || x->kind == CHANGE_SAME)
			continue;
		r = show_one(s, x, &t);
		if (r != 0)
			*path = x->path;
	}
	if (r == 0 && s->format == SHOW_STAT)
		show_totals(s, &t);
	return r;
}
