/* SPDX-License-Identifier: ISC */
/*
 * proot: the sandbox of a machine that allows no namespaces.
 */
#ifndef PROOT_H
#define PROOT_H

#include "sandbox.h"

/*
 * Become proot with the command, having the parent trace it, which is to follow it.
 * Returns -errno, as execve(2) would, when there is no command.
 */
int proot_exec(const struct sandbox *s, char *argv[]);

/*
 * Trace proot until it starts the command, which may end at once. Returns a
 * descriptor of that process (pidfd_open(2)), or -1: there is none, or proot has ended,
 * which can still be waited for.
 */
int proot_follow(pid_t proot);

/*
 * A process that kills all that runs below proot when the command has ended, or
 * when `life` ends, and then proot too: what proot leaves behind would go on with
 * the real files. command: from proot_follow. other: the end of that pipe which the
 * new process must not have. Returns it, or -1. Its exit status is the signal that has ended the command,
 * which proot does not tell; 0 where there was none or the kernel does not say.
 */
pid_t proot_guard(pid_t proot, int command, int life, int other);

#endif
