/*
 * Webhooks that others send: see hook.h. Whoever cannot show who he is learns
 * nothing but that: not whether the signature, its time or a header was wrong.
 */
#include "config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "api/ask.h"
#include "api/hook.h"
#include "base/log.h"
#include "base/utf8.h"
#include "base/when.h"
#include "base/xalloc.h"
#include "core/base64.h"
#include "core/jcheck.h"
#include "core/jtext.h"
#include "core/sign.h"
#include "db/pg.h"

#define EVENT_ID_MAX 255	/* bytes */

/* One of the configuration. */
struct hook {
	const struct hook_conf *conf;
	struct sign_check check;
	const char *event_id, *event_type;	/* header:NAME, body:PATH, "" */
	mono_t told;		/* the log was, of one that was refused */
	unsigned untold;	/* … since then */
};

static struct hook *hooks;
static size_t nhooks;
static struct callers *callers;

/* A delivery that is being looked at. */
struct delivery {
	struct hook *hook;
	struct exchange *x;
	const char *json;	/* the body, if it is JSON; else NULL */
	size_t len;
};

/*
 * Opening and closing
 */

/* What the schemes have when the configuration says nothing. */
static void
fill_in(struct hook *h)
{
	const struct hook_conf *c = h->conf;
	bool standard = c->scheme == VERIFY_STANDARD;
	bool github = c->scheme == VERIFY_GITHUB;

	h->event_id = *c->event_id != '\0' ? c->event_id :
	    standard ? "header:webhook-id" : github ? "header:x-github-delivery" : "";
	h->event_type = *c->event_type != '\0' ? c->event_type :
	    standard ? "body:type" : github ? "header:x-github-event" :
	    "header:x-event-type";
}

void
hooks_open(const struct conf *conf, struct callers *who)
{
	callers = who;
	nhooks = conf->read.nhooks;
	hooks = xcalloc(nhooks + 1, sizeof(*hooks));
	for (size_t i = 0; i < nhooks; i++) {
		const struct hook_conf *c = &conf->read.hooks[i];
		struct hook *h = &hooks[i];

		h->conf = c;
		h->check.scheme = c->scheme;
		h->check.secrets = (const char *const *)c->keys;
		h->check.nsecrets = c->nkeys;
		h->check.token_header = c->token_header;
		h->check.tolerance = c->tolerance_ms / 1000;
		fill_in(h);
	}
}

void
hooks_close(void)
{
	free(hooks);
	hooks = NULL;
	nhooks = 0;
}

/*
 * Who sent it
 */

static const char *
find_header(const void *arg, const char *name)
{
	const struct exchange *x = arg;

	return http_field(&x->request, name);
}

/* Microsoft Graph: each notification brings the secret back. */
static bool
has_client_state(const struct delivery *d)
{
	const char *at = d->json, *one;
	size_t len, count = 0;

	if (at == NULL || (at = jtext_member(at, "value", &len)) == NULL ||
	    *at != '[')
		return false;
	while ((one = jtext_element(&at, &len)) != NULL) {
		const char *text = *one == '{' ?
		    jtext_member(one, "clientState", &len) : NULL;
		char *state = text != NULL ? jtext_string(text, len, &len) : NULL;
		bool is = state != NULL &&
		    sign_is_secret(&d->hook->check, state);

		free(state);
		if (!is)
			return false;
		count++;
	}
	return count > 0;
}

static bool
is_genuine(const struct delivery *d)
{
	struct signed_request r = { .header = find_header, .arg = d->x,
	    .body = d->x->content.len > 0 ? d->x->content.data : "",
	    .len = d->x->content.len };

	return d->hook->conf->scheme == VERIFY_GRAPH ? has_client_state(d) :
	    sign_verify(&d->hook->check, &r, (int64_t)time(NULL));
}

/* The text that Microsoft Graph wants to have back when somebody subscribes;
 * NULL: it is not asking. Caller frees. */
static char *
validation_token(const struct exchange *x)
{
	static const char name[] = "validationToken=";
	const char *q = x->request.query;

	while (q != NULL && strncmp(q, name, sizeof(name) - 1) != 0) {
		q = strchr(q, '&');
		if (q != NULL)
			q++;
	}
	if (q == NULL)
		return NULL;
	q += sizeof(name) - 1;
	return route_decode(q, strcspn(q, "&"));
}

/*
 * What it is
 */

/* What header:NAME or body:PATH finds, as text. NULL: nothing, or no single
 * value. Caller frees. */
static char *
find_part(const struct delivery *d, const char *part)
{
	const char *at = d->json, *p = part;
	size_t len = d->len;

	if (strncmp(p, "header:", 7) == 0) {
		const char *value = http_field(&d->x->request, p + 7);

		/* The older name of the same, as sign_verify() takes it. */
		if (value == NULL && strcmp(p + 7, "webhook-id") == 0)
			value = http_field(&d->x->request, "svix-id");
		return value != NULL ? xstrdup(value) : NULL;
	}
	if (*p == '\0')
		return NULL;
	for (p += 5; at != NULL; p++) {
		size_t n = strcspn(p, ".");

		at = *at == '{' || *at == '[' ?
		    jtext_child(at, p, n, &len) : NULL;
		p += n;
		if (*p == '\0')
			break;
	}
	if (at == NULL || *at == '{' || *at == '[' || *at == 'n')
		return NULL;
	return *at == '"' ? jtext_string(at, len, &len) : xstrndup(at, len);
}

/* Headers that are to stay between the sender and us. */
static bool
is_secret_header(const struct delivery *d, const char *name)
{
	static const char *const secret[] = { "authorization", "cookie",
	    "proxy-authorization", "x-admin-key" };

	for (size_t i = 0; i < sizeof(secret) / sizeof(secret[0]); i++)
		if (strcmp(secret[i], name) == 0)
			return true;
	return d->hook->conf->scheme == VERIFY_TOKEN &&
	    strcmp(name, d->hook->conf->token_header) == 0;
}

/* As an object; of a field that is there twice the values with commas. */
static void
put_headers(struct buf *out, const struct delivery *d)
{
	const struct http_request *r = &d->x->request;
	struct buf value = { 0 };
	const char *comma = "";

	buf_char(out, '{');
	for (size_t i = 0; i < r->nfields; i++) {
		bool seen = false;

		for (size_t n = 0; n < i; n++)
			seen |= strcmp(r->fields[n].name, r->fields[i].name) == 0;
		if (seen || is_secret_header(d, r->fields[i].name))
			continue;
		buf_reset(&value);
		for (size_t n = i; n < r->nfields; n++)
			if (strcmp(r->fields[n].name, r->fields[i].name) == 0)
				buf_printf(&value, "%s%s", n > i ? ", " : "",
				    r->fields[n].value);
		buf_str(out, comma);
		buf_json(out, r->fields[i].name, strlen(r->fields[i].name));
		buf_char(out, ':');
		buf_json(out, value.data, value.len);
		comma = ",";
	}
	buf_char(out, '}');
	buf_clear(&value);
}

static bool
is_utf8(const struct buf *b)
{
	size_t n;

	for (size_t i = 0; i < b->len; i += n)
		if ((n = utf8_length(b->data + i, b->len - i)) == 0 ||
		    b->data[i] == '\0')
			return false;
	return true;
}

/* "KEY": what it says if it is JSON, else its text, or KEY_base64: its bytes. */
static void
put_body(struct buf *out, const struct delivery *d, const char *key)
{
	const struct buf *b = &d->x->content;
	bool text = is_utf8(b);

	buf_printf(out, "\"%s%s\":", key, text ? "" : "_base64");
	if (d->json != NULL) {
		buf_put(out, d->json, d->len);
	} else if (b->len == 0) {
		buf_str(out, "null");
	} else if (text) {
		buf_json(out, b->data, b->len);
	} else {
		buf_char(out, '"');
		base64_encode(out, b->data, b->len);
		buf_char(out, '"');
	}
}

static void
put_text(struct buf *out, const char *text)
{
	if (text != NULL)
		buf_json(out, text, strlen(text));
	else
		buf_str(out, "null");
}

/* The job's data. */
static void
put_data(struct buf *out, const struct delivery *d, const char *event_id)
{
	char *type = find_part(d, d->hook->event_type), at[WHEN_TEXT_MAX];

	if (d->hook->conf->payload == PAYLOAD_RAW) {
		buf_str(out, "{\"headers\":");
		put_headers(out, d);
		buf_char(out, ',');
		put_body(out, d, "body");
	} else {
		buf_str(out, "{\"webhookId\":");
		put_text(out, event_id);
		buf_str(out, ",\"source\":");
		put_text(out, d->hook->conf->name);
		buf_str(out, ",\"eventType\":");
		put_text(out, type);
		buf_char(out, ',');
		put_body(out, d, "data");
		buf_printf(out, ",\"receivedAt\":\"%s\"", when_text(at,
		    (dbtime_us)time(NULL) * 1000000));
	}
	buf_char(out, '}');
	free(type);
}

/*
 * The answer
 */

/* Anybody may send what is refused: the log has one line a second of it. */
static void
tell_refused(const struct delivery *d, const char *why)
{
	struct hook *h = d->hook;

	if (h->told != 0 && mono_now() - h->told < MONO_SECOND) {
		h->untold++;
		return;
	}
	log_warn("webhook refused", "hook=%s from=%s status=%d reason=%s more=%u",
	    h->conf->name, d->x->from, d->x->status, why, h->untold);
	h->told = mono_now();
	h->untold = 0;
}

static void
refuse(const struct delivery *d, int status, const char *why)
{
	if (status == 401)
		callers_wrong(callers, d->x, why);
	else
		exchange_problem(d->x, status, "%s", why);
	tell_refused(d, why);
	exchange_done(d->x);
}

static void
taken(struct exchange *x, const PGresult *res, void *arg)
{
	const struct hook *h = arg;

	x->status = (int)pg_int(res, 0, 0);
	buf_printf(&x->body, "%s\n", pg_text(res, 0, 1));
	log_debug("webhook", "hook=%s from=%s status=%d", h->conf->name, x->from,
	    x->status);
	exchange_done(x);
}

static void
take(const struct delivery *d)
{
	const struct hook_conf *c = d->hook->conf;
	char *event_id = find_part(d, d->hook->event_id), *text;
	struct buf data = { 0 };
	struct err e;

	if (*d->hook->event_id != '\0' && (event_id == NULL ||
	    *event_id == '\0' || strlen(event_id) > EVENT_ID_MAX)) {
		free(event_id);
		refuse(d, 400, "the event has no id, or too long a one");
		return;
	}
	put_data(&data, d, event_id);
	text = buf_detach(&data);
	if (conf_seal_data(ask_conf(d->x), c->queue, &text, &e) < 0) {
		log_error("not encrypted", "hook=%s reason=%s", c->name, e.msg);
		exchange_problem(d->x, 500, "this failed here; the log says why");
		exchange_done(d->x);
		free(text);
		free(event_id);
		return;
	}
	const char *params[] = { c->name, c->queue, c->type, c->tenant, event_id,
	    c->scheme != VERIFY_NONE ? "true" : "false", text };
	ask(d->x, "select status, body "
	    "from jobq.api_hook($1, $2, $3, $4, $5, $6, $7)", 7, params, taken,
	    d->hook);
	free(text);
	free(event_id);
}

/* Something that is answered and is no event. */
static void
reply(struct exchange *x, const char *type, const char *text)
{
	x->status = 200;
	x->type = type;
	buf_str(&x->body, text);
	exchange_done(x);
}

static bool
says_json(const struct exchange *x)
{
	const char *type = http_field(&x->request, "content-type");

	return type != NULL && (strncasecmp(type, "application/json", 16) == 0 ||
	    strcasestr(type, "+json") != NULL);
}

static struct hook *
hook_find(const char *name)
{
	for (size_t i = 0; i < nhooks; i++)
		if (strcmp(hooks[i].conf->name, name) == 0)
			return &hooks[i];
	return NULL;
}

static void
deliver(struct exchange *x, void *arg)
{
	const char *event = http_field(&x->request, "x-github-event");
	struct delivery d = { .x = x, .hook = hook_find(route_value(x, "name")) };
	enum verify_scheme scheme = d.hook ? d.hook->conf->scheme : VERIFY_NONE;
	char *token = scheme == VERIFY_GRAPH ? validation_token(x) : NULL;
	struct err e = { .msg = "" };

	(void)arg;
	if (x->content.len > 0 &&
	    jcheck(x->content.data, x->content.len, &e) == 0) {
		d.json = x->content.data + strspn(x->content.data, " \t\r\n");
		d.len = x->content.len - (size_t)(d.json - x->content.data);
	}
	if (d.hook == NULL) {
		exchange_problem(x, 404, "there is no hook of that name");
		exchange_done(x);
	} else if (token != NULL) {
		reply(x, "text/plain; charset=utf-8", token);
	} else if (!is_genuine(&d)) {
		refuse(&d, 401, "nothing shows that this comes from its sender");
	} else if (scheme == VERIFY_GITHUB && event != NULL &&
	    strcmp(event, "ping") == 0) {
		reply(x, "application/json", "{\"pong\":true}\n");
	} else if (d.json == NULL && x->content.len > 0 && says_json(x)) {
		refuse(&d, 400, e.msg);
	} else {
		take(&d);
	}
	free(token);
}

static const struct param hook_params[] = {
	{ "name", IN_PATH, PARAM_TEXT, "of the hook, as the configuration has it" },
	{ 0 }
};

const struct route hook_routes[] = {
	{ "POST", "/v1/hooks/{name}", "A webhook, which is signed as its hook wants, becomes a job",
	    "hooks", .answer = deliver, .params = hook_params, .status = 202, .raw = true,
	    .any_query = true },
	{ 0 }
};
