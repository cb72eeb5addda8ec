/*
 * Authorisation of HTTP requests: see auth.h.
 */
#include "config.h"

#include <ctype.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/xalloc.h"
#include "conf/conf.h"
#include "core/base64.h"
#include "driver/http/auth.h"
#include "driver/http/form.h"

#define TOKEN_LIFE_S 3600		/* when the server does not say */
#define TOKEN_LIFE_MAX_S 86400		/* whatever it says */
#define MASK_LEAST 6			/* bytes of a secret that is looked for */
#define TOKEN_MARGIN_S 30		/* renewed so long before its end */

/* Where a token's server finds who asks. */
static const char *const place_names[] = { "header", "body", NULL };
#define PLACE_BODY 1

static void
complain(struct conf_sink *sink, const struct node *at, const char *text)
{
	conf_complain(sink, at->file, at->line, at->column, "%s", text);
}

static void
check_basic(const struct node *basic, struct conf_sink *sink)
{
	static const char *const keys[] = {
		"user", "password", "password_file", NULL
	};

	if (basic->kind != NODE_MAP) {
		complain(sink, basic, "basic: needs a map {user, password}");
		return;
	}
	node_known_keys(basic, keys, sink);
	if (node_get(basic, "user") == NULL)
		complain(sink, basic, "basic: user is missing");
}

static void
check_oauth2(const struct node *oauth, struct conf_sink *sink)
{
	static const char *const keys[] = {
		"token_url", "client_id", "client_secret",
		"client_secret_file", "scope", "params", "credentials", NULL
	};
	const struct node *params = node_get(oauth, "params");
	int place = 0;
	const char *url = "";

	if (oauth->kind != NODE_MAP) {
		complain(sink, oauth,
		    "oauth2: needs a map {token_url, client_id, client_secret}");
		return;
	}
	node_known_keys(oauth, keys, sink);
	node_str(oauth, "token_url", &url, sink);
	if (strncmp(url, "https://", 8) != 0 && strncmp(url, "http://", 7) != 0)
		complain(sink, oauth, "oauth2: token_url needs to be a URL");
	if (node_get(oauth, "client_id") == NULL)
		complain(sink, oauth, "oauth2: client_id is missing");
	node_choice(oauth, "credentials", place_names, &place, sink);
	if (params != NULL && params->kind != NODE_MAP)
		complain(sink, params, "params: needs a map of names and texts");
	for (size_t i = 0; params != NULL && params->kind == NODE_MAP &&
	    i < params->count; i++)
		if (params->entries[i].value->kind != NODE_SCALAR)
			complain(sink, params->entries[i].value,
			    "params: needs a map of names and texts");
}

void
auth_check(const struct node *auth, struct conf_sink *sink)
{
	static const char *const keys[] = {
		"bearer", "bearer_file", "basic", "oauth2", NULL
	};

	if (auth->kind != NODE_MAP || auth->count != 1) {
		complain(sink, auth,
		    "auth: needs one of bearer, bearer_file, basic, oauth2");
		return;
	}
	node_known_keys(auth, keys, sink);
	if (node_get(auth, "basic") != NULL)
		check_basic(node_get(auth, "basic"), sink);
	if (node_get(auth, "oauth2") != NULL)
		check_oauth2(node_get(auth, "oauth2"), sink);
}

static bool
is_printable(const char *s)
{
	for (; s != NULL && *s != '\0'; s++)
		if ((unsigned char)*s < 0x20 || *s == 0x7f)
			return false;
	return true;
}

static char *
make_pair(const struct auth *a)
{
	char *plain = xasprintf("%s:%s", a->user, a->password ? a->password : "");
	struct buf text = { 0 };

	base64_encode(&text, plain, strlen(plain));
	auth_wipe(plain);
	return buf_detach(&text);
}

int
auth_open(struct auth *a, const struct node *auth, struct err *e)
{
	const struct node *map;
	const char *user = "";
	int place = 0;

	if (auth == NULL)
		return 0;
	if ((map = node_get(auth, "basic")) != NULL) {
		a->kind = AUTH_BASIC;
		node_str(map, "user", &user, NULL);
		a->password = node_secret(map, "password", NULL);
	} else if ((map = node_get(auth, "oauth2")) != NULL) {
		a->kind = AUTH_OAUTH2;
		node_str(map, "client_id", &user, NULL);
		node_str(map, "token_url", &a->token_url, NULL);
		a->oauth2 = map;
		node_choice(map, "credentials", place_names, &place, NULL);
		a->in_body = place == PLACE_BODY;
		a->password = node_secret(map, "client_secret", NULL);
	} else {
		a->kind = AUTH_BEARER;
		a->bearer = node_secret(auth, "bearer", NULL);
		a->token_at = mono_now();
		if (node_get(auth, "bearer_file") != NULL)
			a->file = auth;
	}
	a->user = xstrdup(user);
	if (a->kind == AUTH_BASIC)
		a->pair = make_pair(a);
	if (!is_printable(a->bearer) ||
	    (a->kind == AUTH_BEARER && a->bearer == NULL))
		return err_set(e, "auth: the bearer token is missing or has a "
		    "control character");
	return 0;
}

void
auth_wipe(char *secret)
{
	if (secret != NULL)
		explicit_bzero(secret, strlen(secret));
	free(secret);
}

void
auth_close(struct auth *a)
{
	auth_wipe(a->password);
	auth_wipe(a->bearer);
	auth_wipe(a->pair);
	free(a->user);
}

static void
drop_token(struct auth *a)
{
	auth_wipe(a->bearer);
	a->bearer = NULL;
}

/* Somebody may have put a new token into the file; else the old one stays. */
static void
read_again(struct auth *a)
{
	char *bearer = node_secret(a->file, "bearer", NULL);

	if (bearer != NULL && is_printable(bearer)) {
		drop_token(a);
		a->bearer = bearer;
	} else {
		auth_wipe(bearer);
	}
	a->token_at = mono_now();
}

bool
auth_is_ready(struct auth *a, mono_t since)
{
	bool late = a->token_at == AUTH_REFUSED || a->token_at < since;

	if (a->file != NULL && late)
		read_again(a);
	if (a->kind != AUTH_OAUTH2)
		return true;
	if (a->bearer != NULL && !late && mono_now() < a->token_until)
		return true;
	drop_token(a);
	return false;
}

void
auth_refuse_token(struct auth *a, mono_t token_at)
{
	/* Unless it has been replaced while the request was on its way. */
	if (a->token_at == token_at)
		a->token_at = AUTH_REFUSED;
}

int
auth_take_token(struct auth *a, const char *answer, size_t len, mono_t asked,
    struct err *e)
{
	json_t *all = json_loadb(answer ? answer : "", len, 0, NULL);
	const char *token = json_string_value(json_object_get(all, "access_token"));
	json_t *life = json_object_get(all, "expires_in");
	double seconds = json_is_number(life) ? json_number_value(life) :
	    TOKEN_LIFE_S;
	bool good = token != NULL && token[0] != '\0';

	for (const char *p = token; good && *p != '\0'; p++)
		good = (unsigned char)*p > ' ' && (unsigned char)*p < 0x7f;
	if (good) {
		drop_token(a);
		a->bearer = xstrdup(token);
		a->token_at = asked;
		if (seconds > TOKEN_LIFE_MAX_S)
			seconds = TOKEN_LIFE_MAX_S;
		seconds -= seconds > 2 * TOKEN_MARGIN_S ? TOKEN_MARGIN_S :
		    seconds / 2;
		a->token_until = mono_now() + (mono_t)(seconds * (double)MONO_SECOND);
	}
	json_decref(all);
	return good ? 0 : err_set(e, "the answer has no access_token");
}

void
auth_token_form(const struct auth *a, struct buf *out)
{
	const struct node *params = node_get(a->oauth2, "params");
	const char *scope = "";
	json_t *map = json_object();

	node_str(a->oauth2, "scope", &scope, NULL);
	json_object_set_new(map, "grant_type", json_string("client_credentials"));
	if (*scope != '\0')
		json_object_set_new(map, "scope", json_string(scope));
	for (size_t i = 0; params != NULL && i < params->count; i++)
		json_object_set_new(map, params->entries[i].key,
		    json_string(params->entries[i].value->text));
	if (a->in_body) {
		json_object_set_new(map, "client_id", json_string(a->user));
		json_object_set_new(map, "client_secret",
		    json_string(a->password ? a->password : ""));
	}
	form_encode(map, out, NULL);
	json_decref(map);
}

void
auth_token_error(const char *answer, size_t len, char *buf, size_t size)
{
	json_t *all = json_loadb(answer ? answer : "", len, 0, NULL);
	const char *word = json_string_value(json_object_get(all, "error"));
	size_t n = 0;

	while (word != NULL && n < size - 1 &&
	    (isalnum((unsigned char)word[n]) || word[n] == '_')) {
		buf[n] = word[n];
		n++;
	}
	buf[n] = '\0';
	json_decref(all);
}

void
auth_mask_secret(const char *secret, char *text, size_t len)
{
	size_t n = secret != NULL ? strlen(secret) : 0;
	char *at;

	if (n < MASK_LEAST || text == NULL)
		return;
	while ((at = memmem(text, len, secret, n)) != NULL) {
		memset(at, '*', n);
		len -= (size_t)(at + n - text);
		text = at + n;
	}
}

void
auth_mask(const struct auth *a, char *text, size_t len)
{
	auth_mask_secret(a->bearer, text, len);
	auth_mask_secret(a->password, text, len);
	auth_mask_secret(a->pair, text, len);
}
