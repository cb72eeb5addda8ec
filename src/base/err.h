/*
 * The reason of a failure, on its way from the place that knows it to the
 * place that can act on it. The lowest level fills it, each level above may
 * put its context in front once, the highest one logs it: one line a failure.
 */
#ifndef BASE_ERR_H
#define BASE_ERR_H

enum err_code {
	ERR_NONE,
	ERR_GENERAL,
	ERR_CONFIG,		/* will fail again until somebody changes something */
	ERR_DOWN,		/* the other side is not there; try again later */
	ERR_BUSY,
};

struct err {
	enum err_code code;
	char msg[1024];		/* one line, no newline at the end */
};

/* All return -1, so that a caller can say: return err_set(e, …). e may be NULL. */
int err_set(struct err *e, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
int err_code(struct err *e, enum err_code code, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
int err_errno(struct err *e, const char *fmt, ...)	/* adds ": strerror(errno)" */
    __attribute__((format(printf, 2, 3)));
int err_prepend(struct err *e, const char *fmt, ...)	/* puts "…: " in front */
    __attribute__((format(printf, 2, 3)));

#endif
