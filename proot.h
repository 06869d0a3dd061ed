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
 * Trace proot until it has made the process that will be the command, which may end at
 * once. Returns that process; both are stopped, and killed with the caller, until
 * proot_let_go. -1: proot has ended before, *status is waitpid(2)'s.
 */
pid_t proot_follow(pid_t proot, int *status);
void proot_let_go(pid_t proot, pid_t command);

/*
 * A process that kills all that runs below proot when the command has ended, or
 * when `life` ends, and then proot too: what proot leaves behind would go on with
 * the real files. other: the end of that pipe which the new process must not
 * have. Returns it, or -1. Its exit status is the signal that has ended the
 * command, which proot does not tell; 0 where there was none or the kernel does
 * not say.
 */
pid_t proot_guard(pid_t proot, pid_t command, int life, int other);

#endif
