/*
 * Loading a configuration, and finding things in it.
 */
#include "config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/xalloc.h"
#include "conf/conf.h"
#include "conf/parts.h"
#include "conf/yaml.h"

static void read_sections(struct conf *, const struct conf_drivers *,
    struct conf_sink *);

struct conf *
conf_load(const char *path, const struct conf_drivers *drivers,
    char **complaints)
{
	struct conf_sink sink = { 0 };
	struct tree tree;
	struct conf *conf = xcalloc(1, sizeof(*conf));

	*complaints = NULL;
	conf->path = xstrdup(path);
	tree_read(&tree, path, &sink);
	conf->root = tree.root;
	conf->files = tree.files;
	conf->nfiles = tree.nfiles;
	if (conf->root != NULL)
		read_sections(conf, drivers, &sink);
	if (sink.count > 0) {
		*complaints = sink_text(&sink);
		conf_free(conf);
		conf = NULL;
	} else
		conf_digests(conf);
	sink_clear(&sink);
	return conf;
}

static void
read_sections(struct conf *conf, const struct conf_drivers *drivers,
    struct conf_sink *sink)
{
	struct node_entry whole = { .value = conf->root, .file = conf->path,
	    .line = 1, .column = 1 };
	struct key_reader r = { .conf = conf, .sink = sink,
	    .place = "", .file = conf->path, .line = 1, .column = 1 };

	keys_read(&r, conf_keys, &whole, conf);
	policies_add_default(conf);
	scales_add_builtin(conf);
	conf->hooks = node_get(conf->root, "hooks");
	conf->channels = node_get(conf->root, "channels");
	conf->alerts = node_get(conf->root, "alerts");
	conf->workflows = node_get(conf->root, "workflows");
	conf_link(conf, drivers, sink);
}

void
conf_free(struct conf *conf)
{
	struct tree tree;

	if (conf == NULL)
		return;
	channels_free(conf);
	secrets_free(conf);
	tokens_free(conf->api.tokens, conf->api.ntokens);
	keys_free(conf_keys, conf);
	free(conf->path);
	tree = (struct tree){ .root = conf->root, .files = conf->files,
	    .nfiles = conf->nfiles };
	tree_free(&tree);
	free(conf);
}

/* The table's line of the section schedules. */
static const struct key *
schedules_key(void)
{
	const struct key *key = conf_keys;

	while (strcmp(key->name, "schedules") != 0)
		key++;
	return key;
}

struct schedule_conf *
conf_schedule_new(const char *name, const char *json, struct err *e)
{
	/* What a schedule takes from around it. */
	struct conf conf = { .daemon.timezone = (char *)"UTC" };
	const struct key *key = schedules_key();
	struct schedule_conf *s = xcalloc(1, sizeof(*s));
	struct conf_sink sink = { 0 };
	struct key_reader r = { .conf = &conf, .sink = &sink,
	    .place = name, .file = name, .line = 1,
	    .column = 1 };
	struct node_entry entry = { .key = (char *)name, .file = name,
	    .line = 1, .column = 1 };
	struct tree tree;

	s->name = xstrdup(name);
	tree_parse(&tree, name, json, &sink);
	entry.value = tree.root;
	if (tree.root != NULL) {
		keys_read(&r, key->table, &entry, s);
		key->finish(&r, &entry, s);
	}
	s->data_node = NULL;	/* s->data has it */
	if (sink.count > 0) {
		err_set(e, "%s", sink.complaints[0].text);
		conf_schedule_free(s);
		s = NULL;
	}
	sink_clear(&sink);
	tree_free(&tree);
	return s;
}

void
conf_schedule_free(struct schedule_conf *s)
{
	if (s == NULL)
		return;
	keys_free(schedules_key()->table, s);
	free(s->name);
	free(s);
}

const char *
conf_default_path(void)
{
	const char *path = getenv("JOBQD_CONF");

	return path != NULL && *path != '\0' ? path : SYSCONFDIR "/jobqd.yml";
}

const struct queue_conf *
conf_queue(const struct conf *conf, const char *name)
{
	for (size_t i = 0; i < conf->nqueues; i++)
		if (strcmp(conf->queues[i].name, name) == 0)
			return &conf->queues[i];
	return NULL;
}

const struct handler_conf *
conf_handler(const struct conf *conf, const char *name)
{
	for (size_t i = 0; i < conf->nhandlers; i++)
		if (strcmp(conf->handlers[i].name, name) == 0)
			return &conf->handlers[i];
	return NULL;
}

const struct limit_conf *
conf_limit(const struct conf *conf, const char *name)
{
	for (size_t i = 0; i < conf->nlimits; i++)
		if (strcmp(conf->limits[i].name, name) == 0)
			return &conf->limits[i];
	return NULL;
}

const char *
conf_own_log(const struct conf *conf, size_t n)
{
	const char *log;

	if (n < conf->nqueues)
		log = conf->queues[n].enabled ? conf->queues[n].log : "";
	else if (n - conf->nqueues < conf->nschedules)
		log = conf->schedules[n - conf->nqueues].log;
	else
		return NULL;
	return strcmp(log, conf->log.file) == 0 ? "" : log;
}

char *
conf_restart_keys(const struct conf *old, const struct conf *new)
{
	struct buf out = { 0 };

	keys_restart(conf_keys, "", old, new, &out);
	return out.len == 0 ? NULL : buf_detach(&out);
}

bool
conf_key_restarts(const char *section, const char *name)
{
	for (const struct key *map = conf_keys; map->name != NULL; map++) {
		if (map->type != KEY_MAP || strcmp(map->name, section) != 0)
			continue;
		for (const struct key *key = map->table; key->name != NULL; key++)
			if (strcmp(key->name, name) == 0)
				return (key->flags & KEY_RESTART) != 0;
	}
	return false;
}
