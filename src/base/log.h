/*
 * The log: one record, one line, one write to a descriptor opened for
 * appending, from every process of jobqd.
 *
 *	log_info("worker ended", "worker=%d status=%d", index, status);
 *
 * The second string names the values: words of the form key=%conversion, with
 * one space between them, or "" for none. Conversions: %s %c %d %u %x %ld %lu
 * %lld %llu %zu %zd %jd and %.Nf (a constant N). A NULL string is shown as "-",
 * in JSON as null. In the text form a value with a space or a quote is quoted;
 * in JSON numbers are numbers, and a key that each record has, as pid, is
 * its_pid. Values are cut at 2 KiB, a record at 4 KiB less one: there a string
 * is cut between characters, and what does not fit after it is left out.
 *
 *	2026-11-21T10:00:00.123Z info  queue email [812]: worker ended worker=3 status=0
 *	{"at":"…","level":"info","process":"queue email","pid":812,
 *	 "event":"worker ended","worker":3,"status":0}			(in one line)
 *
 * Levels: error, someone must act; warn, degraded and will be tried again;
 * info, changes of state an operator wants to see; debug, all else. No
 * secrets at any level.
 */
#ifndef BASE_LOG_H
#define BASE_LOG_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"

enum log_level { LOG_LEVEL_ERROR, LOG_LEVEL_WARN, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG };
enum log_format { LOG_TEXT, LOG_JSON };

/*
 * Where records go from now on. target: "stderr", "syslog" or a path, copied.
 * Opens the new file before it leaves the old one; on failure (-1, e) the log
 * stays as it was. The process begins with stderr, info, text.
 */
int log_open(const char *target, enum log_level, enum log_format, struct err *e);

/* Can it be opened? -1 with e. */
int log_check(const char *target, struct err *e);

/* Open the same files again, for log rotation; one that cannot be opened stays
 * as it was (-1, e for the first of them). Without e, safe in a signal handler. */
int log_reopen(struct err *e);

/*
 * Logs of their own, of a queue or a schedule: files beside the log, in the
 * same format. The master opens them, unless they are open already (-1, e), and
 * hands them on by fork; log_own_fd() is the descriptor of each, from 0 on,
 * above every number with a meaning, and -1 when there are no more.
 */
int log_own_open(const char *path, struct err *e);
void log_own_close(const char *path);
int log_own_fd(size_t n);

/*
 * In a child: all records of this process go there and no longer to the log;
 * those in which the string of that key has that value go to path, before
 * that. Errors and warnings go to the log as well. A path that is not open,
 * or "", changes nothing. Then close the files nothing goes to.
 */
void log_own(const char *path);
void log_route(const char *key, const char *value, const char *path);
void log_own_settled(void);

/* From now on, whatever log_open() said. */
void log_set_level(enum log_level);

/* The name of this process in its records: "master", "queue email"; copied. */
void log_process(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/*
 * The descriptors were laid out anew (after a fork, or on becoming a daemon):
 * the log's file is fd now, and 1 and 2 are the same file and follow it when
 * it is opened again. -1: the target is no file; syslog connects again.
 */
void log_moved(int fd);

/* Errors and warnings go to fd as well; -1: no more. Ends with log_moved(). */
void log_echo(int fd);

/* The descriptor records go to (2 for stderr, -1 for syslog): a child keeps it. */
int log_fd(void);

bool log_would(enum log_level);

void log_error(const char *event, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
void log_warn(const char *event, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
void log_info(const char *event, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
void log_debug(const char *event, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

/* Logs at error and exits 1: start-up, broken invariants, no memory. */
_Noreturn void fatal(const char *event, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

#endif
