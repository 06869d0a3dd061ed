/* SPDX-License-Identifier: ISC */
/*
 * Clearing set-id bits on behalf of a caller, by the rules of write(2) and chown(2);
 * setid.h says when.
 */
#include "setid.h"

#include "wire.h"

/*
 * Set-group-ID without group execution is no danger to a member, and a member may
 * set it: only others lose it.
 */
static mode_t bits_lost(const struct stat *st)
{
	mode_t bits = st->st_mode & S_ISUID;

	if ((st->st_mode & S_ISGID) && ((st->st_mode & S_IXGRP) || !wire_in_group(st->st_gid)))
		bits |= S_ISGID;
	return S_ISDIR(st->st_mode) ? 0 : bits;
}

static void clear(struct at a, const struct stat *st, mode_t bits)
{
	if (!(st->st_mode & bits))
		return;
	at_chmod(a, st->st_mode & 07777 & ~bits);
	wire_mode_changed();
}

void setid_clear(struct at a)
{
	struct stat st;

	if (wire_clears_set_id() && at_stat(a, &st, 0) == 0)
		clear(a, &st, bits_lost(&st));
}

void setid_clear_group(struct at a)
{
	struct stat st;

	if (wire_clears_set_id() && at_stat(a, &st, 0) == 0)
		clear(a, &st, S_ISGID);
}

bool setid_may_clear(struct at a)
{
	struct stat st;

	return !wire_is_unprivileged() || wire_may_write() ||
	       (at_stat(a, &st, 0) == 0 && wire_is_user(st.st_uid));
}

/* The layer clears both bits of what can be executed, whoever asks. */
int setid_chown(const struct ovl *o, struct at a, uid_t uid, gid_t gid)
{
	struct stat st;
	mode_t bits = 0;
	int r;

	if (o->privileged && wire_is_unprivileged() && at_stat(a, &st, 0) == 0)
		bits = bits_lost(&st) & S_ISGID;
	r = at_chown(a, uid, gid);
	if (r == 0 && bits != 0)
		clear(a, &st, bits | S_ISUID);
	return r;
}
