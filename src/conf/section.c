/*
 * What the table of keys alone cannot say of the sections daemon, database,
 * api, handlers and schedules.
 */
#include "config.h"

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/xalloc.h"
#include "conf/instant.h"
#include "conf/parts.h"
#include "conf/zones.h"
#include "core/cron.h"
#include "core/units.h"

#define EVERY_MAX_MS (366LL * 24 * 3600 * 1000)

static void set_spec(struct key_reader *, const struct node_entry *,
    struct schedule_conf *, int kind);

/* yaml.c has read what is included. */
void
conf_read_include(struct key_reader *r, const struct node_entry *entry,
    void *target)
{
	(void)r;
	(void)entry;
	(void)target;
}

void
daemon_finish(struct key_reader *r, const struct node_entry *entry,
    void *target)
{
	struct conf *conf = target;

	(void)r;
	(void)entry;
	/* Checked when it was read. */
	zones_find(conf->daemon.timezone, &conf->daemon.zone, NULL);
}

/* How the embedded cluster is reached: by its socket, in its directory. */
static char *
embedded_url(const char *directory)
{
	struct buf url = { 0 };

	buf_str(&url, "host='");
	for (const char *p = directory; *p != '\0'; p++)
		buf_printf(&url, "%s%c", *p == '\'' || *p == '\\' ? "\\" : "",
		    *p);
	buf_str(&url, "' port=5432 user=jobq dbname=jobq");
	return buf_detach(&url);
}

void
database_finish(struct key_reader *r, const struct node_entry *entry,
    void *target)
{
	struct conf *conf = target;
	const struct node_entry *at = entry ?
	    node_entry(entry->value, "url") : NULL;
	char *url;

	if (*conf->database.embedded == '\0')
		return;
	/* The dump has both. */
	url = embedded_url(conf->database.embedded);
	if (at != NULL && strcmp(conf->database.url, url) != 0)
		conf_complain(r->sink, at->file, at->line, at->column,
		    "url: there is embedded: too; one of them is enough");
	free(conf->database.url);
	conf->database.url = url;
}

void
api_finish(struct key_reader *r, const struct node_entry *entry,
    void *target)
{
	struct conf *conf = target;
	const struct node_entry *file, *tls;

	if (entry == NULL)
		return;
	file = node_entry(entry->value, "admin_key_file");
	if (file != NULL && *conf->api.admin_key_file != '\0' &&
	    *conf->api.admin_key != '\0')
		conf_complain(r->sink, file->file, file->line, file->column,
		    "both admin_key and admin_key_file: one is enough");
	tls = node_entry(entry->value, "tls");
	if ((*conf->api.tls_cert == '\0') != (*conf->api.tls_key == '\0'))
		conf_complain(r->sink, tls->file, tls->line, tls->column,
		    "tls: a certificate needs its key, and a key its certificate: "
		    "both cert and key, or neither");
}

void
limit_finish(struct key_reader *r, const struct node_entry *entry,
    void *element)
{
	struct limit_conf *l = element;

	if (node_entry(entry->value, "rate") == NULL &&
	    node_entry(entry->value, "concurrency") == NULL &&
	    node_entry(entry->value, "min_gap") == NULL)
		conf_complain(r->sink, entry->file, entry->line, entry->column,
		    "limit \"%s\" has none of rate:, concurrency: and min_gap:",
		    l->name);
	if (l->rate_count > INT32_MAX)
		conf_complain(r->sink, entry->file, entry->line, entry->column,
		    "limit \"%s\": a rate counts at most %d", l->name,
		    INT32_MAX);
}

void
handler_finish(struct key_reader *r, const struct node_entry *entry,
    void *element)
{
	struct handler_conf *h = element;
	struct key kind = { "driver", KEY_TEXT };
	const struct node_entry *driver = node_entry(entry->value, "driver");

	h->options = entry->value;
	h->file = entry->file;
	h->line = entry->line;
	h->column = entry->column;
	h->driver = xstrdup("");
	if (entry->value->kind != NODE_MAP)
		conf_complain(r->sink, entry->file, entry->line, entry->column,
		    "%s: needs a map of keys, driver: first of all",
		    entry->key);
	else if (driver == NULL)
		conf_complain(r->sink, entry->file, entry->line, entry->column,
		    "handler \"%s\" has no driver:", h->name);
	else
		key_read_scalar(&kind, driver, &h->driver, r->sink);
}

void
handler_dump(struct dump *d, const struct key *key, const void *target)
{
	const struct handler_conf *h = target;

	(void)key;
	dump_node(d, h->name, h->options);
}

void
schedule_read_cron(struct key_reader *r, const struct node_entry *entry,
    void *target)
{
	struct schedule_conf *s = target;
	struct err e;

	if (entry == NULL)
		return;
	set_spec(r, entry, s, SPEC_CRON);
	if (cron_parse(&s->cron, s->spec, &e) != 0)
		conf_complain(r->sink, entry->file, entry->line, entry->column,
		    "cron: \"%.100s\": %s", s->spec, e.msg);
}

void
schedule_read_every(struct key_reader *r, const struct node_entry *entry,
    void *target)
{
	struct key kind = { "every", KEY_DURATION, .min = 1000,
	    .max = EVERY_MAX_MS };
	struct schedule_conf *s = target;

	if (entry == NULL)
		return;
	set_spec(r, entry, s, SPEC_EVERY);
	key_read_scalar(&kind, entry, &s->every_ms, r->sink);
}

void
schedule_read_at(struct key_reader *r, const struct node_entry *entry,
    void *target)
{
	struct key kind = { "at", KEY_INSTANT };
	struct schedule_conf *s = target;

	if (entry == NULL)
		return;
	set_spec(r, entry, s, SPEC_AT);
	if (key_read_scalar(&kind, entry, &s->at_ms, r->sink) &&
	    s->at_ms == 0)
		conf_complain(r->sink, entry->file, entry->line, entry->column,
		    "at: needs an instant like 2026-12-01T10:00:00Z");
}

static void
set_spec(struct key_reader *r, const struct node_entry *entry,
    struct schedule_conf *s, int kind)
{
	if (s->spec != NULL)
		conf_complain(r->sink, entry->file, entry->line, entry->column,
		    "%s: one of cron, every and at is enough", entry->key);
	free(s->spec);
	s->spec = xstrdup(entry->value->kind == NODE_SCALAR ?
	    entry->value->text : "");
	s->kind = kind;
}

void
schedule_dump_spec(struct dump *d, const struct key *key, const void *target)
{
	static const char *const names[] = { "cron", "every", "at" };
	const struct schedule_conf *s = target;

	if (strcmp(names[s->kind], key->name) == 0)
		dump_text(d, key->name, s->spec);
}

void
schedule_free_spec(void *target)
{
	free(((struct schedule_conf *)target)->spec);
}

/* An instant that was written without an offset is a time of the zone. */
static void
localize(const struct schedule_conf *s, const struct node_entry *map,
    const char *key, int64_t *ms)
{
	const struct node_entry *entry = node_entry(map->value, key);

	if (*ms == 0 || entry == NULL || !instant_is_local(entry->value->text))
		return;
	*ms = zone_to_utc(s->zone, *ms / 1000) * 1000 + *ms % 1000;
	if (*ms <= 0)
		*ms = 1;	/* 0 is none */
}

void
schedule_finish(struct key_reader *r, const struct node_entry *entry,
    void *element)
{
	struct schedule_conf *s = element;

	if (s->spec == NULL) {
		conf_complain(r->sink, entry->file, entry->line, entry->column,
		    "schedule \"%s\" has none of cron:, every: and at:",
		    s->name);
		s->spec = xstrdup("");
	}
	if (*s->queue == '\0')
		conf_complain(r->sink, entry->file, entry->line, entry->column,
		    "schedule \"%s\" has no queue:", s->name);
	if (s->timezone == NULL)
		s->timezone = xstrdup(r->conf->daemon.timezone);
	zones_find(s->timezone, &s->zone, NULL);
	localize(s, entry, "at", &s->at_ms);
	localize(s, entry, "starts", &s->starts_ms);
	localize(s, entry, "ends", &s->ends_ms);
	if (s->starts_ms != 0 && s->ends_ms != 0 &&
	    s->ends_ms <= s->starts_ms)
		conf_complain(r->sink, entry->file, entry->line, entry->column,
		    "schedule \"%s\" ends before it starts", s->name);
	s->data = s->data_node ? node_json(s->data_node) : xstrdup("{}");
}
