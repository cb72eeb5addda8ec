/*
 * jobqctl diff: what a reload would do. A jobqd tells the database what it was
 * configured with whenever it starts or reloads (jobq.running): the text of
 * "jobqd -T", in which secrets are ***, and digests that know of them. The
 * digests say whether a queue's processes would be replaced, by the same rule
 * as the master's (master/reload.c); the texts say why.
 */
#include "config.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/xalloc.h"
#include "ctl/ctl.h"
#include "ctl/out.h"
#include "db/migrate.h"

#define DIFF_SAME 0		/* as diff(1) has them */
#define DIFF_CHANGES 1
#define DIFF_TROUBLE 2
#define DEPTH_MAX 64

/* A value of a configuration's text. In a path the names have tabs between
 * them, since dots are part of queues' names. */
struct setting {
	char *path, *value;
};
struct settings {
	struct setting *all;
	size_t count, room;
};

/* Where the names of a path end, while a text is read. */
struct place {
	struct {
		size_t indent, len;
		int items;
	} at[DEPTH_MAX];
	int depth;
	struct buf path;
};

struct diff {
	struct ctl *ctl;
	const char *file;
	struct conf *conf;		/* of the file */
	struct settings was, is;
	json_t *running;		/* node, at, version, alive */
	json_t *same;			/* name of a digest: true or false */
	json_t *items;			/* what there is to say, in order */
	json_t *restart;		/* keys that a reload does not take */
	int alone;			/* queues that would not be touched */
};

/* The sections whose entries have names, and what one of them is called. */
static const struct {
	const char *section, *kind;
} named[] = {
	{ "schedules", "schedule" }, { "limits", "limit" },
	{ "handlers", "handler" }, { "retry", "retry" },
	{ "workflows", "workflow" }, { "channels", "channel" },
	{ "alerts", "alert" }, { "hooks", "hook" },
	{ "priority_scales", "scale" },
};
static const char *const plain[] = { "daemon", "database", "log", "api",
	"monitor" };

static int compare(struct diff *);
static int load(struct diff *);
static int ask(struct diff *);
static int no_node(struct diff *);
static void settings_read(struct settings *, const char *text);
static void read_line(struct settings *, struct place *, const char *line,
    size_t len);
static size_t key_length(const char *, size_t len);
static void settings_clear(struct settings *);
static const char *get(const struct settings *, const char *section,
    const char *name, const char *key);
static bool has(const struct settings *, const char *section, const char *name);
static void queues(struct diff *);
static void queue(struct diff *, const char *name);
static json_t *because(struct diff *, const struct queue_conf *);
static void entries(struct diff *, const char *section, const char *kind);
static void section(struct diff *, const char *name);
static bool detached_log(const char *path, const char *from, const char *to);
static json_t *changes(struct diff *, const char *section, const char *name);
static json_t *names_of(const struct diff *, const char *section);
static void add(struct diff *, const char *kind, const char *name,
    const char *action, json_t *more);
static json_t *report(const struct diff *);
static void print(const struct diff *);
static void print_item(json_t *);

int
diff_run(struct ctl *ctl, const struct args *a)
{
	struct diff d = { .ctl = ctl };
	int status;

	d.file = a->count > 0 ? a->operands[0] : ctl->conf_path;
	/* Where nothing is installed, the file knows the database as well. */
	if (ctl->url == NULL && !args_has(a, "config") &&
	    access(ctl->conf_path, R_OK) != 0)
		ctl->conf_path = d.file;
	d.items = json_array();
	d.restart = json_array();
	status = load(&d) == 0 && ask(&d) == 0 ? compare(&d) : DIFF_TROUBLE;
	conf_free(d.conf);
	settings_clear(&d.was);
	settings_clear(&d.is);
	json_decref(d.running);
	json_decref(d.same);
	json_decref(d.items);
	json_decref(d.restart);
	return status;
}

static int
compare(struct diff *d)
{
	queues(d);
	for (size_t i = 0; i < sizeof(named) / sizeof(*named); i++)
		entries(d, named[i].section, named[i].kind);
	for (size_t i = 0; i < sizeof(plain) / sizeof(*plain); i++)
		section(d, plain[i]);
	if (json_array_size(d->items) == 0 &&
	    !json_is_true(json_object_get(d->same, DIGEST_WHOLE)))
		add(d, "secrets", "", "change", NULL);
	if (d->ctl->json) {
		json_t *all = report(d);
		char *text = json_dumps(all, JSON_INDENT(1));

		out_json_value(text);
		putchar('\n');
		free(text);
		json_decref(all);
	} else {
		print(d);
	}
	return json_array_size(d->items) == 0 ? DIFF_SAME : DIFF_CHANGES;
}

/* The file, as the daemon would read it. */
static int
load(struct diff *d)
{
	char *text = NULL;
	size_t len = 0;
	FILE *f;

	if ((d->conf = ctl_conf(d->file)) == NULL)
		return -1;
	if ((f = open_memstream(&text, &len)) == NULL) {
		ctl_fail("no memory");
		return -1;
	}
	conf_dump(d->conf, f);
	fclose(f);
	settings_read(&d->is, text);
	free(text);
	return 0;
}

/* What the node runs. */
static int
ask(struct diff *d)
{
	struct buf digests = { 0 };
	const char *params[2];
	PGresult *res;

	migrate_digests(d->conf, &digests);
	params[0] = d->conf->daemon.node;
	params[1] = digests.data;
	res = ctl_query(d->ctl, "SELECT config, same, json_build_object("
	    "'version', version, 'since', " SQL_TIME("at") ", 'alive', alive) "
	    "FROM jobq.running_same($1, $2::jsonb)", 2, params);
	buf_clear(&digests);
	if (res == NULL)
		return -1;
	if (PQntuples(res) == 0) {
		PQclear(res);
		return no_node(d);
	}
	settings_read(&d->was, PQgetvalue(res, 0, 0));
	d->same = json_loads(PQgetvalue(res, 0, 1), 0, NULL);
	d->running = json_loads(PQgetvalue(res, 0, 2), 0, NULL);
	PQclear(res);
	return 0;
}

static int
no_node(struct diff *d)
{
	PGresult *res = ctl_query(d->ctl, "SELECT string_agg(name, ', ' "
	    "ORDER BY name) FROM jobq.nodes", 0, NULL);

	if (res == NULL)
		return -1;
	if (*PQgetvalue(res, 0, 0) == '\0')
		ctl_fail("no jobqd has run with this database, so there is "
		    "nothing to compare with");
	else
		ctl_fail("no node %s has run with this database, but %s; see "
		    "daemon.node in %s", d->conf->daemon.node,
		    PQgetvalue(res, 0, 0), d->file);
	PQclear(res);
	return -1;
}

static int
by_path(const void *a, const void *b)
{
	return strcmp(((const struct setting *)a)->path,
	    ((const struct setting *)b)->path);
}

/* A text that conf_dump() wrote: two blanks a level, a key or item a line. */
static void
settings_read(struct settings *s, const char *text)
{
	struct place p = { 0 };

	while (*text != '\0') {
		size_t len = strcspn(text, "\n");

		read_line(s, &p, text, len);
		text += len + (text[len] == '\n');
	}
	buf_clear(&p.path);
	if (s->count > 0)
		qsort(s->all, s->count, sizeof(*s->all), by_path);
}

static void
read_line(struct settings *s, struct place *p, const char *line, size_t len)
{
	size_t indent = 0, key;

	while (indent < len && line[indent] == ' ')
		indent++;
	while (p->depth > 0 && p->at[p->depth - 1].indent > indent)
		p->depth--;
	if (p->depth == 0 || p->at[p->depth - 1].indent < indent) {
		if (p->depth == DEPTH_MAX)
			return;
		p->at[p->depth].indent = indent;
		p->at[p->depth].len = p->path.len;
		p->at[p->depth++].items = 0;
	}
	buf_put(&p->path, "", 0);
	p->path.len = p->at[p->depth - 1].len;
	p->path.data[p->path.len] = '\0';
	line += indent;
	len -= indent;
	if (p->path.len > 0)
		buf_char(&p->path, '\t');
	if (len > 0 && *line == '-' && (len == 1 || line[1] == ' ')) {
		buf_printf(&p->path, "%d", ++p->at[p->depth - 1].items);
		key = 1;
	} else {
		key = key_length(line, len);
		if (*line == '"')
			buf_put(&p->path, line + 1, key < 3 ? 0 : key - 3);
		else
			buf_put(&p->path, line, key > 0 ? key - 1 : 0);
	}
	if (key < len && line[key] == ' ')
		key++;
	if (s->count == s->room) {
		s->room = s->room == 0 ? 256 : s->room * 2;
		s->all = xreallocarray(s->all, s->room, sizeof(*s->all));
	}
	s->all[s->count++] = (struct setting){ .path = xstrdup(p->path.data),
	    .value = xstrndup(line + key, len - key) };
}

/* With its colon. */
static size_t
key_length(const char *line, size_t len)
{
	size_t i = 0;

	if (len > 0 && *line == '"')
		for (i = 1; i < len && line[i] != '"'; i++)
			if (line[i] == '\\')
				i++;
	while (i < len && line[i] != ':')
		i++;
	return i < len ? i + 1 : len;
}

static void
settings_clear(struct settings *s)
{
	for (size_t i = 0; i < s->count; i++) {
		free(s->all[i].path);
		free(s->all[i].value);
	}
	free(s->all);
}

/* NULL: it is not there. */
static const char *
get(const struct settings *s, const char *section, const char *name,
    const char *key)
{
	char *path = xasprintf("%s\t%s%s%s", section, name,
	    *key == '\0' ? "" : "\t", key);
	const struct setting want = { .path = path };
	const struct setting *found = s->count == 0 ? NULL :
	    bsearch(&want, s->all, s->count, sizeof(*s->all), by_path);

	free(path);
	return found == NULL ? NULL : found->value;
}

static bool
has(const struct settings *s, const char *section, const char *name)
{
	return get(s, section, name, "") != NULL;
}

/* The names of a section in either text, sorted. */
static json_t *
names_of(const struct diff *d, const char *section)
{
	const struct settings *both[] = { &d->was, &d->is };
	json_t *names = json_object();
	size_t len = strlen(section);

	for (int k = 0; k < 2; k++) {
		for (size_t i = 0; i < both[k]->count; i++) {
			const char *path = both[k]->all[i].path;

			if (strncmp(path, section, len) == 0 &&
			    path[len] == '\t' &&
			    strchr(path + len + 1, '\t') == NULL)
				json_object_set_new(names, path + len + 1,
				    json_true());
		}
	}
	return names;
}

static void
queues(struct diff *d)
{
	json_t *names = names_of(d, "queues"), *value;
	const char *name;

	json_object_foreach(names, name, value)
		queue(d, name);
	json_decref(names);
}

static bool
enabled(const struct settings *s, const char *name)
{
	const char *value = get(s, "queues", name, "enabled");

	return value != NULL && strcmp(value, "false") != 0;
}

static void
queue(struct diff *d, const char *name)
{
	bool was = enabled(&d->was, name), is = enabled(&d->is, name);
	const char *from = get(&d->was, "queues", name, "workers");
	const char *to = get(&d->is, "queues", name, "workers");
	const struct queue_conf *q = conf_queue(d->conf, name);
	json_t *more = json_pack("{}");

	if (was)
		json_object_set_new(more, "workers_before",
		    json_integer(from == NULL ? 0 : atoi(from)));
	if (is)
		json_object_set_new(more, "workers",
		    json_integer(to == NULL ? 0 : atoi(to)));
	if (was && is && json_is_true(json_object_get(d->same, name))) {
		d->alone++;
		json_decref(more);
		return;
	}
	if (was && is)
		json_object_set_new(more, "because", because(d, q));
	if (has(&d->was, "queues", name) && has(&d->is, "queues", name))
		json_object_set_new(more, "changes", changes(d, "queues", name));
	if (was || is)
		add(d, "queue", name, !was ? "start" : is ? "restart" : "stop",
		    more);
	else if (!has(&d->is, "queues", name))
		add(d, "queue", name, "remove", more);
	else if (!has(&d->was, "queues", name))
		add(d, "queue", name, "add", more);
	else if (json_array_size(json_object_get(more, "changes")) > 0)
		add(d, "queue", name, "change", more);
	else
		json_decref(more);
}

static void
reason(json_t *list, struct diff *d, const char *section, const char *name)
{
	json_t *c = changes(d, section, name);
	const char *kind = section;

	for (size_t i = 0; i < sizeof(named) / sizeof(*named); i++)
		if (strcmp(named[i].section, section) == 0)
			kind = named[i].kind;
	if (json_array_size(c) > 0)
		json_array_append_new(list, json_sprintf("%s%s%s", kind,
		    *name == '\0' ? "" : " ", name));
	json_decref(c);
}

/* What its processes are made of beside its own settings. */
static json_t *
because(struct diff *d, const struct queue_conf *q)
{
	json_t *list = json_array(), *own = changes(d, "queues", q->name);

	for (size_t i = 0; i < q->ntypes; i++) {
		bool said = false;

		for (size_t k = 0; k < i; k++)
			said |= q->types[k].handler == q->types[i].handler;
		if (!said)
			reason(list, d, "handlers", q->types[i].handler->name);
	}
	if (q->own_retry == NULL)
		reason(list, d, "retry", q->retry->name);
	if (q->against != NULL)
		reason(list, d, "retry", q->against->name);
	for (size_t i = 0; i < q->nlimits; i++)
		reason(list, d, "limits", q->limits[i]);
	if (!json_is_true(json_object_get(d->same, DIGEST_SHARED))) {
		reason(list, d, "database", "");
		reason(list, d, "log", "");
	}
	if (json_array_size(list) == 0 && json_array_size(own) == 0)
		json_array_append_new(list, json_string("a secret, or what a "
		    "file of secrets holds"));
	json_decref(own);
	return list;
}

static void
entries(struct diff *d, const char *sec, const char *kind)
{
	json_t *names = names_of(d, sec), *value;
	const char *name;

	json_object_foreach(names, name, value) {
		bool was = has(&d->was, sec, name), is = has(&d->is, sec, name);
		json_t *list;

		if (!was || !is) {
			add(d, kind, name, is ? "add" : "remove", NULL);
			continue;
		}
		list = changes(d, sec, name);
		if (json_array_size(list) == 0)
			json_decref(list);
		else
			add(d, kind, name, "change",
			    json_pack("{s:o}", "changes", list));
	}
	json_decref(names);
}

/* One whose keys are its own; some of them a reload refuses. */
static void
section(struct diff *d, const char *name)
{
	json_t *list = changes(d, name, ""), *c;
	size_t i;

	if (json_array_size(list) == 0) {
		json_decref(list);
		return;
	}
	json_array_foreach(list, i, c) {
		const char *key = json_string_value(json_object_get(c, "key"));

		if (conf_key_restarts(name, key))
			json_array_append_new(d->restart,
			    json_sprintf("%s.%s", name, key));
	}
	add(d, name, "", "change", json_pack("{s:o}", "changes", list));
}

/* A jobqd that detached itself logs to syslog what was to go to stderr. */
static bool
detached_log(const char *path, const char *from, const char *to)
{
	return strcmp(path, "log\tfile") == 0 && from != NULL && to != NULL &&
	    strcmp(from, "syslog") == 0 && strcmp(to, "stderr") == 0;
}

/* The values below an entry (or a section, name "") that differ. */
static json_t *
changes(struct diff *d, const char *sec, const char *name)
{
	char *prefix = *name == '\0' ? xasprintf("%s\t", sec) :
	    xasprintf("%s\t%s\t", sec, name);
	size_t len = strlen(prefix), i = 0, k = 0;
	json_t *list = json_array();

	while (i < d->was.count || k < d->is.count) {
		const struct setting *a = i < d->was.count ? &d->was.all[i] : NULL;
		const struct setting *b = k < d->is.count ? &d->is.all[k] : NULL;
		int order = a == NULL ? 1 : b == NULL ? -1 : by_path(a, b);
		const char *path = order <= 0 ? a->path : b->path;
		const char *from = order <= 0 ? a->value : NULL;
		const char *to = order >= 0 ? b->value : NULL;
		char *key;

		i += order <= 0;
		k += order >= 0;
		if (strncmp(path, prefix, len) != 0 ||
		    (from != NULL && to != NULL && strcmp(from, to) == 0) ||
		    detached_log(path, from, to))
			continue;
		key = xstrdup(path + len);
		for (char *p = key; *p != '\0'; p++)
			if (*p == '\t')
				*p = '.';
		json_array_append_new(list, json_pack("{s:s,s:s?,s:s?}",
		    "key", key, "from", from, "to", to));
		free(key);
	}
	free(prefix);
	return list;
}

static void
add(struct diff *d, const char *kind, const char *name, const char *action,
    json_t *more)
{
	json_t *item = json_pack("{s:s,s:s,s:s}", "kind", kind, "name", name,
	    "action", action);

	if (more != NULL) {
		json_object_update(item, more);
		json_decref(more);
	}
	json_array_append_new(d->items, item);
}

static json_t *
report(const struct diff *d)
{
	json_t *all = json_pack("{s:s,s:s,s:b,s:O,s:i,s:O}",
	    "node", d->conf->daemon.node, "file", d->file,
	    "changed", json_array_size(d->items) > 0,
	    "needs_restart", d->restart, "queues_left_alone", d->alone,
	    "items", d->items);

	json_object_update_missing(all, d->running);
	return all;
}

static void
print(const struct diff *d)
{
	const char *version = json_string_value(json_object_get(d->running,
	    "version"));
	json_t *item;
	size_t i;

	out_line("node %s, as it runs since %s%s, and %s", d->conf->daemon.node,
	    json_string_value(json_object_get(d->running, "since")),
	    json_is_true(json_object_get(d->running, "alive")) ? "" :
	    " (it does not run now)", d->file);
	if (version != NULL && strcmp(version, PACKAGE_VERSION) != 0)
		out_line("it is jobqd %s, and this is %s: they may not have the same "
		    "settings", version, PACKAGE_VERSION);
	json_array_foreach(d->items, i, item)
		print_item(item);
	if (json_array_size(d->items) == 0) {
		out_line("a reload would change nothing");
		return;
	}
	if (json_array_size(d->restart) > 0) {
		struct buf keys = { 0 };

		json_array_foreach(d->restart, i, item)
			buf_printf(&keys, "%s%s", i > 0 ? ", " : "",
			    json_string_value(item));
		out_line("a reload would be refused: these need a restart: %s",
		    keys.data);
		buf_clear(&keys);
		return;
	}
	out_line("%d queue%s left alone; scheduler, monitor and api are made anew",
	    d->alone, d->alone == 1 ? " is" : "s are");
}

static void
print_item(json_t *item)
{
	const char *kind = json_string_value(json_object_get(item, "kind"));
	const char *action = json_string_value(json_object_get(item, "action"));
	json_t *before = json_object_get(item, "workers_before");
	json_t *now = json_object_get(item, "workers"), *c;
	struct buf line = { 0 };
	size_t i;

	if (strcmp(kind, "secrets") == 0) {
		out_line("a secret, or what a file of secrets holds: change");
		return;
	}
	buf_printf(&line, "%s", kind);
	if (json_string_length(json_object_get(item, "name")) > 0)
		buf_printf(&line, " %s",
		    json_string_value(json_object_get(item, "name")));
	buf_printf(&line, ": %s", action);
	if (before != NULL && now != NULL &&
	    json_integer_value(before) != json_integer_value(now))
		buf_printf(&line, ", %lld workers instead of %lld",
		    (long long)json_integer_value(now),
		    (long long)json_integer_value(before));
	else if (before != NULL || now != NULL)
		buf_printf(&line, ", %lld workers", (long long)
		    json_integer_value(now != NULL ? now : before));
	json_array_foreach(json_object_get(item, "because"), i, c)
		buf_printf(&line, "%s%s", i == 0 ? ", because of " : ", ",
		    json_string_value(c));
	out_line("%s", line.data);
	buf_clear(&line);
	json_array_foreach(json_object_get(item, "changes"), i, c) {
		const char *from = json_string_value(json_object_get(c, "from"));
		const char *to = json_string_value(json_object_get(c, "to"));

		out_line("    %s: %s -> %s",
		    json_string_value(json_object_get(c, "key")),
		    from == NULL ? "(not set)" : from,
		    to == NULL ? "(not set)" : to);
	}
}
