/*
 * Time zones by name, from the system's files: $TZDIR, an absolute path, else
 * /usr/share/zoneinfo.
 */
#ifndef CONF_ZONES_H
#define CONF_ZONES_H

#include "base/err.h"
#include "core/zone.h"

/*
 * *zone becomes the zone of that name, as in "Europe/Berlin", and stays good
 * for the life of the process; NULL for UTC, which needs no file. A file that
 * was changed since is read again, for whoever asks then. -1 with e: no such
 * zone, with the nearest name, or a file that cannot be read.
 */
int zones_find(const char *name, const struct zone **zone, struct err *e);

#endif
