/*
 * The signature of an HTTP request: for request.c, see maker.h.
 */
#include "config.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/xalloc.h"
#include "core/sign.h"
#include "driver/http/maker.h"

enum sign_scheme { SIGN_STANDARD, SIGN_TIMESTAMPED };

static const char *const scheme_names[] = {
	"standard-webhooks", "timestamped-hmac", NULL
};

#define SECRETS_MAX 10			/* while they are changed */

static void
check_secrets(const struct node_entry *entry, struct conf_sink *sink)
{
	const struct node *list = entry->value;

	if (list->kind != NODE_LIST) {
		maker_check_scalar(entry, sink);
		return;
	}
	if (list->count == 0 || list->count > SECRETS_MAX)
		maker_complain(sink, entry, "secret: needs 1 to 10 of them");
	for (size_t i = 0; i < list->count; i++)
		if (list->entries[i].value->kind != NODE_SCALAR ||
		    template_used(list->entries[i].value->text))
			maker_complain(sink, &list->entries[i],
			    "secret: needs a text without {{}} in a list");
}

void
signing_check(const struct node_entry *entry, struct conf_sink *sink)
{
	static const char *const keys[] = {
		"scheme", "secret", "secret_file", NULL
	};
	const struct node_entry *secret;
	int scheme = 0;

	if (entry->value->kind != NODE_MAP) {
		maker_complain(sink, entry, "sign: needs a map {scheme, secret}");
		return;
	}
	node_known_keys(entry->value, keys, sink);
	node_choice(entry->value, "scheme", scheme_names, &scheme, sink);
	if ((secret = node_entry(entry->value, "secret")) != NULL)
		check_secrets(secret, sink);
}

static int
take_secrets(struct strings *keys, json_t *list, struct err *e)
{
	json_t *item;
	size_t i;

	json_array_foreach(list, i, item) {
		const char *text = json_string_value(item);

		if (text == NULL || strlen(text) != json_string_length(item) ||
		    i >= SECRETS_MAX)
			return err_set(e, "secret: needs to be text, or a list of at "
			    "most %d texts", SECRETS_MAX);
		strings_take(keys, xstrdup(text));
	}
	return 0;
}

/* What stands for the data's secret may be several, as JSON. */
static int
take_expanded(struct strings *keys, char *text, struct err *e)
{
	json_t *list = strncmp(text, "[\"", 2) == 0 ?
	    json_loads(text, 0, NULL) : NULL;
	int rc = take_secrets(keys, list, e);

	if (list == NULL) {
		strings_take(keys, text);
		return 0;
	}
	json_decref(list);
	explicit_bzero(text, strlen(text));
	free(text);
	return rc;
}

/* The keys to sign with: the handler's, else the data's. None: do not. */
static int
find_secrets(struct maker *m, struct strings *keys)
{
	json_t *value = json_object_get(m->data, "secret");
	const char *text;
	char *key;

	for (char *const *s = m->secrets; s != NULL && *s != NULL; s++) {
		if (maker_expand(m, *s, TEMPLATE_TEXT, &key) < 0)
			return err_prepend(m->e, "sign.secret");
		if (take_expanded(keys, key, m->e) < 0)
			return -1;
	}
	if (m->secrets != NULL)
		return 0;
	if (json_is_array(value)) {
		if (take_secrets(keys, value, m->e) < 0)
			return -1;
	} else if (maker_string(m, "secret", &text) < 0) {
		return -1;
	} else if (text != NULL) {
		strings_take(keys, xstrdup(text));
	}
	if (keys->n == 0 && node_get(m->options, "sign") != NULL)
		return err_set(m->e, "secret: missing in data, and the handler "
		    "has none to sign with");
	return 0;
}

/* Of each key one signature: a receiver that knows any of them is content. */
static int
sign_with_all(const struct maker *m, const struct strings *keys, const char *id,
    struct buf *value)
{
	const struct request *r = m->request;

	for (size_t i = 0; i < keys->n; i++) {
		if (i > 0)
			buf_char(value, ' ');
		if (sign_standard(keys->v[i], id, m->now, r->body ? r->body : "",
		    r->body_len, value, m->e) < 0)
			return -1;
	}
	return 0;
}

static int
put_signature(struct maker *m, enum sign_scheme scheme,
    const struct strings *keys)
{
	struct request *r = m->request;
	char id[24], at[24];
	struct buf value = { .len = 0 };
	int rc;

	snprintf(id, sizeof(id), "%" PRId64, m->job->id);
	snprintf(at, sizeof(at), "%" PRId64, m->now);
	if (scheme == SIGN_STANDARD)
		rc = sign_with_all(m, keys, id, &value);
	else
		/* There is room for one. */
		rc = sign_timestamped(keys->v[0], m->now, r->body ? r->body : "",
		    r->body_len, &value, m->e);
	if (rc == 0 && scheme == SIGN_STANDARD) {
		maker_put_header(m, "webhook-id", id);
		maker_put_header(m, "webhook-timestamp", at);
		maker_put_header(m, "webhook-signature", value.data);
	} else if (rc == 0) {
		maker_put_header(m, "X-Webhook-Timestamp", at);
		maker_put_header(m, "X-Webhook-Signature", value.data);
	}
	if (rc == 0)
		maker_put_header(m, "X-Event-Id", id);
	buf_clear(&value);
	return rc;
}

int
signing_make(struct maker *m)
{
	const struct node *sign = node_get(m->options, "sign");
	int scheme = SIGN_STANDARD, rc;
	struct strings keys = { .n = 0 };
	const char *event;

	if (maker_string(m, "eventType", &event) < 0)
		return -1;
	if (event != NULL && !maker_is_field_value(event))
		return err_set(m->e, "eventType: has a control character");
	rc = find_secrets(m, &keys);
	if (rc == 0 && keys.n > 0 && m->request->pieces.n > 0)
		rc = err_set(m->e, "secret: what is sent from a file is not signed");
	node_choice(sign, "scheme", scheme_names, &scheme, NULL);
	if (rc == 0 && keys.n > 0)
		rc = put_signature(m, (enum sign_scheme)scheme, &keys);
	for (size_t i = 0; i < keys.n; i++)
		explicit_bzero(keys.v[i], strlen(keys.v[i]));
	if (rc < 0 || keys.n == 0) {
		strings_clear(&keys);
		return rc;
	}
	strings_clear(&keys);
	if (event == NULL && maker_is_field_value(m->job->type))
		event = m->job->type;
	maker_put_header(m, "X-Event-Type", event ? event : "");
	return 0;
}
