/*
 * The driver http, for its files: http.c opens handlers and runs jobs,
 * httpcurl.c is a request as libcurl sees it.
 */
#ifndef DRIVER_HTTP_H
#define DRIVER_HTTP_H

#include <curl/curl.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "base/err.h"
#include "base/mono.h"
#include "core/job.h"
#include "driver/driver.h"
#include "driver/http/answer.h"
#include "driver/http/auth.h"
#include "driver/http/pace.h"
#include "driver/http/request.h"
#include "driver/http/sockets.h"
#include "driver/http/upload.h"
#include "driver/output.h"
#include "os/address.h"

/* Files that are sent, and the one that is received. */
struct files {
	struct upload upload;		/* pieces NULL: none is sent */
	struct output output;
	int dir;			/* the one that output goes to; -1: nowhere */
	mono_t told;			/* of progress */
};

/* A request on its way: of a job, or for the token (run NULL). */
struct transfer {
	struct pace_ticket ticket;	/* first: of slow start */
	struct http *http;
	struct run *run;
	struct request request;
	CURL *easy;			/* NULL: waits, for its turn or for the token */
	struct curl_slist *headers;
	char error[CURL_ERROR_SIZE];
	struct answer answer;
	bool refused_address;
	enum job_class cut;		/* we ended it; CLASS_NONE: no, or the status counts */
	struct err why;			/* of cut */
	mono_t token_at;		/* auth.token_at when it began */
	struct timer *answer_timer;	/* until the answer must begin; NULL: none */
	struct files *files;		/* NULL: it has to do with none */
	TAILQ_ENTRY(transfer) link;	/* while it waits for the token */
};
TAILQ_HEAD(transfers, transfer);

#define SPARE_MAX 256

/* Opened once in a worker. */
struct http {
	struct driver_ctx *ctx;
	CURLM *multi;
	struct sockets sockets;
	CURL *spare[SPARE_MAX];		/* handles of transfers that have ended */
	size_t nspare;
	struct timer *timer;
	bool allow_private;
	struct network *networks;	/* private ones that are allowed all the same */
	size_t nnetworks;
	int64_t timeout_ms, connect_ms;	/* 0: the job's */
	int64_t answer_ms, stall_ms;	/* 0: none */
	struct answer_keep keep;
	char **secrets;			/* to sign with; NULL: none of the handler */
	const char *ca_file;		/* NULL: the system's */
	const char *cert, *key;		/* files that we show; NULL: none */
	const char *directory;		/* of files; NULL: none */
	int64_t max_size;		/* of one that is saved */

	struct pace pace;		/* of the destinations; max 0: no slow start */
	struct timer *pace_timer;	/* until somebody's patience ends */

	struct auth auth;
	struct transfer *fetch;		/* for the token, NULL: none on its way */
	struct transfers waiting;
};

/* run NULL: for the token. */
struct transfer *transfer_new(struct http *, struct run *);
void transfer_free(struct transfer *);

/* Open all files that its request has to do with, before it goes out; CLASS_NONE,
 * or how the job ends, with e. */
enum job_class transfer_open_files(struct transfer *, struct err *e);
/* Its request goes out. */
void transfer_start(struct transfer *);
/* It is over: http.c ends its job. Not from within libcurl. */
void transfer_done(struct transfer *, CURLcode);
/* Whether the answer went, or goes, to a file. */
bool transfer_is_saved(const struct transfer *);

#endif
