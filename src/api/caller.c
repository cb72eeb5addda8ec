/*
 * Credentials: see caller.h.
 *
 * A cookie is EXPIRY.MAC, its end in seconds since the epoch and an HMAC, by a
 * key that lives as long as the master, of that and of the digest of the token
 * it was given for: nothing is kept for it, and it ends with the token.
 */
#include "config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "api/caller.h"
#include "api/route.h"
#include "api/server.h"
#include "base/log.h"
#include "base/xalloc.h"
#include "core/jtext.h"
#include "os/board.h"

#define COOKIE "jobqd"
#define COOKIE_SECONDS (12 * 3600)
#define BEARER "Bearer "
#define CREDENTIAL_MAX 1024	/* bytes of a token */
/* Wrong credentials: so many at once from an address, and one a second. */
#define WRONG_MAX 20
#define WRONG_PERIOD MONO_SECOND
#define WRONG_SLOTS 4096	/* addresses; two that share one are as one */

/* Requests that are left now, in parts of one; and when that was so. */
struct bucket {
	double left;
	mono_t at;
};

struct callers {
	const struct conf *conf;
	struct bucket *tokens;	/* as conf->api.tokens */
	struct bucket wrong[WRONG_SLOTS];
	uint32_t seed;
};

/*
 * How many requests
 */

static void
bucket_fill(struct bucket *b, double most)
{
	*b = (struct bucket){ .left = most, .at = mono_now() };
}

/* Take one out, which holds `most` and gains as many in `period`. 0: done,
 * else how many seconds to wait for one. */
static int64_t
bucket_take(struct bucket *b, double most, mono_t period)
{
	mono_t now = mono_now();

	b->left += most * (double)(now - b->at) / (double)period;
	b->at = now;
	if (b->left > most)
		b->left = most;
	if (b->left >= 1) {
		b->left -= 1;
		return 0;
	}
	return (int64_t)((1 - b->left) * (double)period / most / MONO_SECOND) + 1;
}

static struct bucket *
bucket_of(struct callers *callers, const char *address)
{
	uint32_t hash = callers->seed;

	while (*address != '\0')
		hash = (hash ^ (unsigned char)*address++) * 16777619u;
	return &callers->wrong[(hash ^ hash >> 15) % WRONG_SLOTS];
}

struct callers *
callers_new(const struct conf *conf)
{
	struct callers *c = xcalloc(1, sizeof(*c));

	c->conf = conf;
	c->seed = arc4random();
	c->tokens = xcalloc(conf->api.ntokens + 1, sizeof(*c->tokens));
	for (size_t i = 0; i < conf->api.ntokens; i++)
		bucket_fill(&c->tokens[i], (double)conf->api.rate_count);
	for (size_t i = 0; i < WRONG_SLOTS; i++)
		bucket_fill(&c->wrong[i], WRONG_MAX);
	return c;
}

void
callers_free(struct callers *c)
{
	if (c == NULL)
		return;
	free(c->tokens);
	free(c);
}

static bool
too_many(struct exchange *x, int64_t wait, const char *what)
{
	exchange_problem(x, 429, "%s; try again in %lld s", what, (long long)wait);
	buf_printf(&x->headers, "Retry-After: %lld\r\n", (long long)wait);
	return false;
}

/*
 * Who it is
 */

/* All are looked at, whatever fits: how long it takes tells nothing. */
static const struct token *
find_token(const struct conf *conf, const char *credential)
{
	unsigned char digest[DIGEST_SIZE];
	const struct token *found = NULL;
	size_t len = strlen(credential);

	if (len == 0 || len > CREDENTIAL_MAX)
		return NULL;
	digest_sha256(digest, credential, len);
	for (size_t i = 0; i < conf->api.ntokens; i++)
		if (digest_equal(conf->api.tokens[i].digest, digest))
			found = &conf->api.tokens[i];
	return found;
}

static void
sign_cookie(unsigned char mac[DIGEST_SIZE], const struct token *t, long long expiry)
{
	unsigned char text[DIGEST_SIZE + 24];
	int n;

	memcpy(text, t->digest, DIGEST_SIZE);
	n = snprintf((char *)text + DIGEST_SIZE, 24, "%lld", expiry);
	digest_hmac(mac, board_secret(), BOARD_SECRET, text, DIGEST_SIZE + (size_t)n);
}

static const struct token *
find_by_cookie(const struct conf *conf, const char *value, size_t len)
{
	unsigned char mac[DIGEST_SIZE], wanted[DIGEST_SIZE];
	char text[24 + DIGEST_HEX_MAX], *dot;
	const struct token *found = NULL;
	long long expiry;

	if (len >= sizeof(text))
		return NULL;
	memcpy(text, value, len);
	text[len] = '\0';
	expiry = strtoll(text, &dot, 10);
	if (*dot != '.' || expiry <= time(NULL) || digest_parse(mac, dot + 1) < 0)
		return NULL;
	for (size_t i = 0; i < conf->api.ntokens; i++) {
		sign_cookie(wanted, &conf->api.tokens[i], expiry);
		if (digest_equal(mac, wanted))
			found = &conf->api.tokens[i];
	}
	return found;
}

/* The value of ours among the cookies of a request; NULL: there is none. */
static const char *
cookie(const struct http_request *r, size_t *len)
{
	for (size_t i = 0; i < r->nfields; i++) {
		const char *p = r->fields[i].value;

		if (strcmp(r->fields[i].name, "cookie") != 0)
			continue;
		for (; *p != '\0'; p += strcspn(p, ";")) {
			p += strspn(p, "; \t");
			if (strncmp(p, COOKIE "=", strlen(COOKIE) + 1) != 0)
				continue;
			p += strlen(COOKIE) + 1;
			*len = strcspn(p, "; \t");
			return p;
		}
	}
	return NULL;
}

/* What a client shows, else NULL. */
static const char *
credential(const struct http_request *r)
{
	const char *bearer = http_field(r, "authorization");

	if (bearer == NULL)
		return http_field(r, "x-admin-key");
	return strncasecmp(bearer, BEARER, strlen(BEARER)) == 0 ?
	    bearer + strlen(BEARER) + strspn(bearer + strlen(BEARER), " ") : "";
}

/* The page of a browser that has our cookie may be anybody's; ours says so in
 * a field that no other can send, and has its origin here. */
static bool
is_ours(const struct http_request *r)
{
	const char *with = http_field(r, "x-requested-with");
	const char *origin = http_field(r, "origin"), *host = http_field(r, "host");

	if (strcmp(r->method, "GET") == 0 || strcmp(r->method, "HEAD") == 0)
		return true;
	if (with == NULL || strcmp(with, "jobqd") != 0 || origin == NULL || host == NULL)
		return false;
	origin = strstr(origin, "://");
	return origin != NULL && strcasecmp(origin + 3, host) == 0;
}

static bool
unknown(struct callers *callers, struct exchange *x, const char *why)
{
	int64_t wait = bucket_take(bucket_of(callers, x->from), WRONG_MAX,
	    WRONG_MAX * WRONG_PERIOD);

	if (wait > 0)
		return too_many(x, wait, "too much that is wrong comes from this address");
	exchange_problem(x, 401, "%s", why);
	buf_str(&x->headers, "WWW-Authenticate: Bearer realm=\"jobqd\"\r\n");
	return false;
}

void
callers_wrong(struct callers *callers, struct exchange *x, const char *why)
{
	unknown(callers, x, why);
}

static void
set_caller(struct exchange *x, const struct token *t)
{
	x->caller.token = t;
	x->caller.name = t->name;
	x->caller.role = t->role;
	x->caller.tenant = t->tenant;
}

/* A client that shows no credential has made no mistake yet. */
static bool
nobody(struct callers *callers, struct exchange *x)
{
	exchange_problem(x, 401, callers->conf->api.ntokens == 0 ?
	    "there is no token yet: \"jobqctl token new NAME ROLE\" makes one; its line goes into "
	    "the file of api.tokens_file" :
	    "a token is needed: Authorization: Bearer TOKEN");
	buf_str(&x->headers, "WWW-Authenticate: Bearer realm=\"jobqd\"\r\n");
	return false;
}

static bool
identify(struct callers *callers, struct exchange *x)
{
	const struct conf *conf = callers->conf;
	const char *shown = credential(&x->request), *value = NULL;
	const struct token *t = NULL;
	size_t len = 0;

	if (shown != NULL)
		t = find_token(conf, shown);
	else if ((value = cookie(&x->request, &len)) != NULL)
		t = find_by_cookie(conf, value, len);
	if (shown == NULL && t == NULL)
		return nobody(callers, x);
	if (t == NULL)
		return unknown(callers, x, "the token is not known here");
	set_caller(x, t);
	x->caller.is_cookie = value != NULL;
	return true;
}

static int64_t
charge(struct callers *callers, const struct token *t)
{
	const struct conf *conf = callers->conf;

	if (conf->api.rate_count == 0)
		return 0;
	return bucket_take(&callers->tokens[t - conf->api.tokens],
	    (double)conf->api.rate_count, conf->api.rate_period_ms * MONO_MS);
}

bool
callers_admit(struct callers *callers, struct exchange *x, const struct route *r)
{
	int64_t wait;

	if (r->role == ROLE_NONE)
		return true;
	if (!identify(callers, x))
		return false;
	if ((wait = charge(callers, x->caller.token)) > 0)
		return too_many(x, wait, "more requests than api.rate_limit grants this token");
	if (x->caller.is_cookie && !is_ours(&x->request)) {
		exchange_problem(x, 403, "with a cookie this needs an Origin that is this host, "
		    "and X-Requested-With: jobqd");
		return false;
	}
	if (x->caller.role < r->role) {
		exchange_problem(x, 403, "this needs the role %s; the token has %s",
		    role_names[r->role], role_names[x->caller.role]);
		return false;
	}
	if (x->caller.tenant != NULL && !r->tenants) {
		exchange_problem(x, 403, "this is not for a token that is bound to a tenant");
		return false;
	}
	return true;
}

/*
 * Sessions
 */

void
session_show(struct exchange *x)
{
	const struct caller *c = &x->caller;

	x->status = 200;
	buf_str(&x->body, "{\"name\":");
	buf_json(&x->body, c->name, strlen(c->name));
	buf_printf(&x->body, ",\"role\":\"%s\",\"tenant\":", role_names[c->role]);
	if (c->tenant != NULL)
		buf_json(&x->body, c->tenant, strlen(c->tenant));
	else
		buf_str(&x->body, "null");
	buf_str(&x->body, "}\n");
}

static void
set_cookie(struct exchange *x, const char *value, int seconds)
{
	buf_printf(&x->headers, "Set-Cookie: " COOKIE "=%s; Path=/; Max-Age=%d; "
	    "HttpOnly; SameSite=Strict%s\r\n", value, seconds,
	    x->secure ? "; Secure" : "");
	x->status = 204;
}

void
session_begin(struct callers *callers, struct exchange *x)
{
	const char *shown = credential(&x->request);
	const char *origin = http_field(&x->request, "origin");
	const char *host = http_field(&x->request, "host");
	long long expiry = (long long)time(NULL) + COOKIE_SECONDS;
	char hex[DIGEST_HEX_MAX], value[24 + DIGEST_HEX_MAX];
	unsigned char mac[DIGEST_SIZE];
	const struct token *t;

	if (shown == NULL)
		shown = route_value(x, "token");
	if (origin != NULL && ((origin = strstr(origin, "://")) == NULL ||
	    host == NULL || strcasecmp(origin + 3, host) != 0)) {
		exchange_problem(x, 403, "this page is not of this host");
	} else if (shown == NULL) {
		nobody(callers, x);
	} else if ((t = find_token(callers->conf, shown)) == NULL) {
		unknown(callers, x, "the token is not known here");
	} else {
		sign_cookie(mac, t, expiry);
		snprintf(value, sizeof(value), "%lld.%s", expiry, digest_hex(hex, mac));
		set_cookie(x, value, COOKIE_SECONDS);
		log_info("session begun", "by=%s from=%s", t->name, x->from);
	}
}

void
session_end(struct exchange *x)
{
	set_cookie(x, "", 0);
}
