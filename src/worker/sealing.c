/*
 * Encrypted jobs in a worker: see sealing.h.
 */
#include "config.h"

#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/log.h"
#include "base/utf8.h"
#include "base/xalloc.h"
#include "core/jcheck.h"
#include "core/msg.h"
#include "worker/sealing.h"

#define ERROR_LINE_MAX 64		/* bytes of the first line of an encrypted error */

bool
sealing_is_on(const struct queue_conf *q)
{
	return q->encrypt.keys != NULL && q->encrypt.results;
}

char *
sealing_text(const struct queue_conf *q, const char *field, const char *text,
    size_t len)
{
	struct buf b = { 0 };
	struct err e;

	if (seal(q->encrypt.keys, q->name, field, text, len, &b, &e) < 0) {
		log_error("not encrypted", "left_out=%s reason=%s", field, e.msg);
		buf_clear(&b);
		return NULL;
	}
	return buf_detach(&b);
}

void
sealing_result(const struct run *run, struct run_result *r)
{
	char *text;

	if (r->message != NULL)
		utf8_cut(r->message,
		    SEALED_OF(RESULT_MESSAGE_MAX - ERROR_LINE_MAX));
	run_result_bound(r);
	if (!r->settled)
		run_seal_result(run, &r->result);
	if (r->message != NULL) {
		text = sealing_text(run->ctx->queue, "error", r->message,
		    strlen(r->message));
		free(r->message);
		r->message = xasprintf("%s (encrypted)\n%s",
		    job_class_name(r->class), text ? text : "");
		free(text);
	}
}

int
sealing_open_result(const struct queue_conf *q, char **result, struct err *e)
{
	struct buf b = { 0 };
	enum unsealed got;

	if (q->encrypt.keys == NULL || !seal_is(*result))
		return 0;
	got = unseal(q->encrypt.keys, q->name, "result", *result, &b, e);
	free(*result);
	*result = got == UNSEALED ? buf_detach(&b) : NULL;
	buf_clear(&b);
	return got == UNSEALED ? 0 :
	    err_prepend(e, "the result of an earlier attempt");
}

enum job_class
sealing_open_data(const struct queue_conf *q, char **data, struct err *e)
{
	struct buf plain = { 0 };
	enum unsealed got;

	if (q->encrypt.keys == NULL)
		return CLASS_NONE;
	if (!seal_is(*data)) {
		if (!q->encrypt.required || strcmp(*data, "{}") == 0)
			return CLASS_NONE;
		err_set(e, "the data is not encrypted");
		return CLASS_VALIDATION;
	}
	got = unseal(q->encrypt.keys, q->name, "data", *data, &plain, e);
	if (got == UNSEALED && (jcheck(plain.data, plain.len, e) < 0 ||
	    plain.data[strspn(plain.data, " \t\r\n")] != '{')) {
		err_set(e, "what was encrypted is no JSON object");
		got = UNSEAL_BROKEN;
	}
	if (got == UNSEALED) {
		free(*data);
		*data = buf_detach(&plain);
		return CLASS_NONE;
	}
	if (plain.data != NULL)
		explicit_bzero(plain.data, plain.cap);
	buf_clear(&plain);
	err_prepend(e, "the data cannot be decrypted");
	return got == UNSEAL_NO_KEY ? CLASS_AUTH : CLASS_VALIDATION;
}
