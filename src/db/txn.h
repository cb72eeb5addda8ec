/*
 * One transaction of a driver: begin, settings, statements asked one after
 * another from their owner, commit; at the first failure rollback.
 */
#ifndef DB_TXN_H
#define DB_TXN_H

#include "db/session.h"

struct txn_settings {
	const char *role;		/* "" : who connected */
	int64_t timeout_ms;		/* of each statement, at the server */
	bool read_only;			/* and one snapshot for all statements */
	bool bare;			/* no transaction: each statement by itself */
};

/* TXN_BACK: roll back, and over() has class error. TXN_WAIT: until txn_go_on(). */
enum txn_answer { TXN_ON, TXN_BACK, TXN_WAIT };

struct txn_ops {
	/* The next statement, borrowed until it was answered; NULL: no more, so
	 * commit. */
	const struct session_statement *(*next)(void *arg);
	void (*head)(const struct session_row *, void *arg);	/* may be NULL */
	void (*row)(const struct session_row *, void *arg);	/* may be NULL */
	/* One of them was done. May be NULL. */
	enum txn_answer (*answered)(const struct session_end *, void *arg);
	/* The end. Class none: committed. With SQLSTATE "" it may have been, or
	 * not: the connection was lost. */
	void (*over)(const struct session_end *, void *arg);
};

struct txn {
	struct session *session;
	const struct txn_settings *settings;
	const struct txn_ops *ops;
	void *arg;
	int phase;
	bool cancelled;
	struct session_statement own;
	struct session_end end;		/* the first failure */
	char timeout[24];
	const char *params[2];
};

/* All but txn's own memory is borrowed until over(), which is called once, later. */
void txn_start(struct txn *, struct session *, const struct txn_settings *,
    const struct txn_ops *, void *arg);
/* After TXN_WAIT: on, or back. */
void txn_go_on(struct txn *, enum txn_answer);
/* End it soon, while over() has not been called; one that commits already does. */
void txn_cancel(struct txn *);

#endif
