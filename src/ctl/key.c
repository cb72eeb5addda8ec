/*
 * jobqctl key, and what other commands need of the keys of encrypted queues:
 * enqueue encrypts, and with --decrypt whatever was asked of the database is
 * decrypted on its way to the terminal.
 */
#include "config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/xalloc.h"
#include "core/base64.h"
#include "core/jcheck.h"
#include "core/seal.h"
#include "ctl/ctl.h"
#include "db/array.h"

#define ENVELOPE "{\"$enc\""
#define ENVELOPE_IN_STRING "{\\\"$enc\\\""	/* of JSON in JSON */

/* The keys of a queue and its name. */
struct unlock {
	struct keyring *keys;
	char *queue;
};

/* A key as its line of the file. */
int
key_new(struct ctl *ctl, const struct args *a)
{
	unsigned char key[SEAL_KEY_SIZE];
	char day[16], *id;
	time_t now = time(NULL);
	struct buf line = { 0 };
	const char *wrong;
	struct tm tm;

	strftime(day, sizeof(day), "%Y-%m-%d", gmtime_r(&now, &tm));
	id = a->count > 0 ? xstrdup(a->operands[0]) :
	    xasprintf("%s-%04x", day, arc4random_uniform(0x10000));
	wrong = seal_check_id(id);
	if (wrong == NULL) {
		arc4random_buf(key, sizeof(key));
		buf_printf(&line, "%s ", id);
		base64_encode(&line, key, sizeof(key));
		printf(ctl->json ? "{\"key\":\"%s\",\"line\":\"%s\"}\n" :
		    "%.0s%s\n", id, line.data);
		explicit_bzero(key, sizeof(key));
		explicit_bzero(line.data, line.len);
	}
	buf_clear(&line);
	free(id);
	return wrong == NULL ? CTL_DONE : ctl_misuse("key new: %s", wrong);
}

/*
 * The queue's keys: CTL_DONE with *keys, NULL when its jobs are not encrypted as
 * far as this configuration, if there is one, says.
 */
static int
read_keys(struct ctl *ctl, const char *queue, struct keyring **keys)
{
	const struct queue_conf *q;
	char *complaints = NULL;

	*keys = NULL;
	if (ctl->url != NULL && ctl->conf == NULL)
		return CTL_DONE;
	if (ctl_configure(ctl) < 0)
		return CTL_FAILED;
	if ((q = conf_queue(ctl->conf, queue)) != NULL)
		*keys = conf_keyring(ctl->conf, q, &complaints);
	if (complaints == NULL)
		return CTL_DONE;
	fputs(complaints, stderr);
	free(complaints);
	return ctl_fail("no keys for the queue %s", queue);
}

static void
unlock(struct ctl *ctl, const char *queue, struct keyring *keys)
{
	key_lock(ctl);
	ctl->unlock = xcalloc(1, sizeof(*ctl->unlock));
	ctl->unlock->keys = keys;
	ctl->unlock->queue = xstrdup(queue);
}

int
key_seal(struct ctl *ctl, const char *queue, struct buf *data)
{
	char *text = data->data;
	struct keyring *keys;
	struct err e;
	int status = read_keys(ctl, queue, &keys);

	if (keys == NULL)
		return status;
	unlock(ctl, queue, keys);
	/* What is no JSON the server refuses, and says why. */
	if (jcheck(text, data->len, &e) < 0 || text[strspn(text, " \t\r\n")] != '{')
		return CTL_DONE;
	text = xstrdup(text + strspn(text, " \t\r\n"));
	if (seal_data(keys, queue, &text, &e) < 0)
		status = ctl_fail("%s", e.msg);
	buf_reset(data);
	buf_str(data, text);
	free(text);
	return status;
}

/* The queue of a job; CTL_DONE with NULL: there is no such job. */
static int
find_queue(struct ctl *ctl, const char *id, char **queue)
{
	const char *params[] = { id };
	PGresult *res = ctl_query(ctl, "SELECT q.name FROM jobq.job j "
	    "JOIN jobq.queue q ON q.id = j.queue WHERE j.id = $1::bigint", 1, params);

	*queue = NULL;
	if (res == NULL)
		return CTL_FAILED;
	if (PQntuples(res) > 0)
		*queue = xstrdup(PQgetvalue(res, 0, 0));
	PQclear(res);
	return CTL_DONE;
}

int
key_seal_for(struct ctl *ctl, const char *id, struct buf *data)
{
	char *queue;
	int64_t number;
	int status;

	if (ctl_parse_id(id, &number) < 0)
		return CTL_USAGE;
	status = find_queue(ctl, id, &queue);
	if (queue != NULL)
		status = key_seal(ctl, queue, data);
	free(queue);
	return status;
}

int
key_unlock(struct ctl *ctl, const struct args *a, const char *id)
{
	struct keyring *keys = NULL;
	char *queue;
	int status;

	if (!args_has(a, "decrypt"))
		return CTL_DONE;
	status = find_queue(ctl, id, &queue);
	if (queue != NULL)
		status = read_keys(ctl, queue, &keys);
	if (keys != NULL)
		unlock(ctl, queue, keys);
	else if (queue != NULL && status == CTL_DONE)
		status = ctl_fail("there are no keys of the queue %s: -c FILE names "
		    "a configuration that has some", queue);
	free(queue);
	return status;
}

void
key_lock(struct ctl *ctl)
{
	if (ctl->unlock == NULL)
		return;
	keyring_free(ctl->unlock->keys);
	free(ctl->unlock->queue);
	free(ctl->unlock);
	ctl->unlock = NULL;
}

/* Of whatever it is a part: that is what it was encrypted as. */
static bool
open_envelope(const struct unlock *u, const char *json, struct buf *out)
{
	static const char *const fields[] = { "data", "result", "error", "note",
	    "output" };
	struct err e;

	for (size_t i = 0; i < sizeof(fields) / sizeof(*fields); i++)
		if (unseal(u->keys, u->queue, fields[i], json, out, &e) == UNSEALED)
			return true;
	return false;
}

/* The first of the two in the text. */
static const char *
find_envelope(const char *text, bool *in_string)
{
	const char *plain = strstr(text, ENVELOPE);
	const char *escaped = strstr(text, ENVELOPE_IN_STRING);

	*in_string = escaped != NULL && (plain == NULL || escaped < plain);
	return *in_string ? escaped : plain;
}

/* All envelopes in a text, which have neither backslashes nor braces in them.
 * False: there is none. */
static bool
open_text(const struct unlock *u, const char *text, struct buf *out)
{
	struct buf json = { 0 }, plain = { 0 };
	const char *at, *end;
	bool in_string, any = false;

	while ((at = find_envelope(text, &in_string)) != NULL &&
	    (end = strstr(at, "}}")) != NULL) {
		buf_put(out, text, (size_t)(at - text));
		buf_reset(&json);
		buf_reset(&plain);
		text = end + 2;
		for (const char *p = at; p < text; p++)
			if (*p != '\\')
				buf_char(&json, *p);
		if (!open_envelope(u, json.data, &plain)) {
			buf_put(out, at, (size_t)(text - at));
			continue;
		}
		any = true;
		if (!in_string) {
			buf_put(out, plain.data, plain.len);
			continue;
		}
		buf_reset(&json);
		buf_json(&json, plain.data, plain.len);
		buf_put(out, json.data + 1, json.len - 2);
	}
	buf_str(out, text);
	buf_clear(&json);
	buf_clear(&plain);
	return any;
}

void
key_open(const struct unlock *u, PGresult *res)
{
	struct buf out = { 0 };

	for (int row = 0; row < PQntuples(res); row++)
		for (int i = 0; i < PQnfields(res); i++) {
			buf_reset(&out);
			if (!PQgetisnull(res, row, i) &&
			    open_text(u, PQgetvalue(res, row, i), &out))
				PQsetvalue(res, row, i, out.data, (int)out.len);
		}
	if (out.data != NULL)
		explicit_bzero(out.data, out.cap);
	buf_clear(&out);
}

int
key_list(struct ctl *ctl, const struct args *a)
{
	static const char sql[] = "SELECT coalesce(f.queue, u.queue) AS queue, "
	    "coalesce(f.key, u.key) AS key, CASE WHEN f.key IS NULL THEN 'missing' "
	    "WHEN f.n = min(f.n) OVER (PARTITION BY f.queue) THEN 'encrypts' "
	    "ELSE 'decrypts' END AS use, coalesce(u.unfinished, 0) AS unfinished, "
	    "coalesce(u.dead, 0) AS dead, coalesce(u.ended, 0) AS ended "
	    "FROM unnest($1::text[], $2::text[]) WITH ORDINALITY f(queue, key, n) "
	    "FULL JOIN jobq.encryption_keys u ON u.queue = f.queue AND u.key = f.key "
	    "WHERE $3::text IS NULL OR coalesce(f.queue, u.queue) = $3 "
	    "ORDER BY 1, f.n NULLS LAST, 2";
	const char *only = a->count > 0 ? a->operands[0] : NULL;
	struct array queues = { 0 }, names = { 0 };
	struct keyring *r;
	struct buf json = { 0 };
	int status = ctl_configure(ctl) < 0 ? CTL_FAILED : CTL_DONE;

	for (size_t i = 0; status == CTL_DONE && i < ctl->conf->nqueues; i++) {
		status = read_keys(ctl, ctl->conf->queues[i].name, &r);
		for (size_t k = 0; r != NULL && k < r->count; k++) {
			array_text(&queues, ctl->conf->queues[i].name);
			array_text(&names, r->keys[k].id);
		}
		keyring_free(r);
	}
	if (status == CTL_DONE) {
		const char *params[] = { array_close(&queues), array_close(&names),
		    only };

		buf_printf(&json, ctl->json ? "SELECT row_to_json(k) FROM (%s) k" :
		    "%s", sql);
		status = ctl_list(ctl, ctl_query(ctl, json.data, 3, params),
		    "nothing is encrypted");
	}
	array_clear(&queues);
	array_clear(&names);
	buf_clear(&json);
	return status;
}
