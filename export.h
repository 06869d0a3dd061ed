/* SPDX-License-Identifier: ISC */
/*
 * export: the command that writes a layer, or the whole merged tree, as a tar.
 */
#ifndef EXPORT_H
#define EXPORT_H

/* Returns the exit status. */
int export_command(int argc, char *argv[]);

#endif
