/*
 * Channels: what is wrong with one, and the queue that the monitor's workers
 * run, which has a type for each of them. A channel for mail is run by the
 * handler it names; another has one of its own, whose options are the
 * channel's values by the names that the driver knows them by.
 */
#include "config.h"

#include <stdlib.h>
#include <string.h>

#include "base/xalloc.h"
#include "conf/parts.h"

#define GRACE_MS 1000		/* of a program that takes too long */
#define OPTIONS_MAX 4

/* Borrows all from the channel and from what is below. */
struct notice_handler {
	struct handler_conf handler;
	struct node options;
	struct node_entry entries[OPTIONS_MAX];
};

static char url_key[] = "url", argv_key[] = "argv", prefix_key[] = "env_prefix",
    private_key[] = "allow_private", headers_key[] = "headers", sign_key[] = "sign",
    http_name[] = "http", exec_name[] = "exec", prefix_text[] = "ALERT_";
static struct node exec_prefix = { .kind = NODE_SCALAR, .text = prefix_text };

static bool
is_webhook(const struct channel_conf *c)
{
	return *c->webhook != '\0' || *c->webhook_file != '\0';
}

static int
count_ways(const struct channel_conf *c)
{
	return (c->nemail > 0) + (*c->webhook != '\0') +
	    (*c->webhook_file != '\0') + (c->nexec > 0);
}

static void
check_via(struct conf *conf, const struct channel_conf *c,
    const struct node_entry *entry, struct conf_sink *sink)
{
	const struct node_entry *via = node_entry(entry->value, "via");
	const struct handler_conf *h = conf_handler(conf, c->via);

	if (*c->via == '\0')
		complain_entry(sink, entry,
		    "needs via:, the handler that sends its mail");
	else if (h == NULL)
		complain_missing(sink, via, "via", "handler", c->via,
		    conf->handlers, conf->nhandlers, sizeof(*conf->handlers));
	else if (*h->driver != '\0' && strcmp(h->driver, "email") != 0)
		conf_complain(sink, via->file, via->line, via->column,
		    "via: the handler %s sends no mail, its driver is %s",
		    h->name, h->driver);
}

/* Keys of a way that the channel does not go. */
static void
check_strays(const struct channel_conf *c, const struct node_entry *entry,
    struct conf_sink *sink)
{
	static const char *const keys[] = { "via", "format", "allow_private",
	    "headers", "sign" };

	for (size_t i = 0; i < sizeof(keys) / sizeof(*keys); i++) {
		const struct node_entry *at = node_entry(entry->value, keys[i]);

		if (at != NULL && !(i == 0 ? c->nemail > 0 : is_webhook(c)))
			conf_complain(sink, at->file, at->line, at->column,
			    "%s: goes with %s: only", keys[i],
			    i == 0 ? "email" : "webhook");
	}
}

static void
check_sign(const struct channel_conf *c, const struct node_entry *entry,
    struct conf_sink *sink)
{
	const struct node_entry *sign = node_entry(entry->value, "sign");

	if (c->sign != NULL && node_get(c->sign, "secret") == NULL &&
	    node_get(c->sign, "secret_file") == NULL)
		conf_complain(sink, sign->file, sign->line, sign->column,
		    "sign: needs a secret: or secret_file:");
}

static void
put_option(struct notice_handler *n, char *name, const struct node_entry *from)
{
	if (from == NULL)
		return;
	n->entries[n->options.count] = *from;
	n->entries[n->options.count++].key = name;
}

static void
make_handler(struct notice_handler *n, const struct channel_conf *c,
    const struct node_entry *entry)
{
	const struct node *map = entry->value;
	struct node_entry prefix = *entry;

	n->options = (struct node){ .kind = NODE_MAP, .file = entry->file,
	    .line = entry->line, .column = entry->column,
	    .entries = n->entries };
	n->handler = (struct handler_conf){ .name = c->name,
	    .options = &n->options, .file = entry->file, .line = entry->line,
	    .column = entry->column };
	if (!is_webhook(c)) {
		n->handler.driver = exec_name;
		put_option(n, argv_key, node_entry(map, "exec"));
		prefix.value = &exec_prefix;
		put_option(n, prefix_key, &prefix);
		return;
	}
	n->handler.driver = http_name;
	put_option(n, url_key, node_entry(map, "webhook"));
	put_option(n, private_key, node_entry(map, private_key));
	/* Not what is no map, and complained of. */
	if (c->headers != NULL)
		put_option(n, headers_key, node_entry(map, headers_key));
	if (c->sign != NULL)
		put_option(n, sign_key, node_entry(map, sign_key));
}

static void
check_handler(const struct handler_conf *h, const struct node_entry *entry,
    const struct conf_drivers *drivers, struct conf_sink *sink)
{
	const struct node *url = node_get(h->options, url_key);

	if (drivers == NULL)
		return;
	for (const char *const *name = drivers->names(); *name != NULL; name++)
		if (strcmp(*name, h->driver) == 0) {
			/* The address may be the dump's. */
			if (url == NULL || strcmp(url->text, "***") != 0)
				drivers->check(h->driver, h->options, sink);
			return;
		}
	complain_entry(sink, entry, "needs a driver that this build lacks");
}

static void
add_type(struct queue_conf *q, const struct channel_conf *c,
    const struct handler_conf *handler)
{
	if (handler != NULL)
		q->types[q->ntypes++] = (struct type_conf){
			.type = xstrdup(c->name), .handler = handler,
			.timeout_ms = c->timeout_ms };
}

/* With every default of a queue. */
static struct queue_conf *
make_queue(struct conf *conf, struct conf_sink *sink)
{
	struct key_reader r = { .conf = conf, .sink = sink,
	    .place = "channels", .file = conf->path };
	struct queue_conf *q = xcalloc(1, sizeof(*q));

	keys_read(&r, keys_of("queues"), NULL, q);
	q->name = xstrdup("(notices)");
	q->workers = (int)conf->read.nchannels;
	q->grace_ms = GRACE_MS;
	q->scale = &conf->scales[0];
	for (size_t i = 0; i < conf->npolicies; i++)
		if (strcmp(conf->policies[i].name, "default") == 0)
			q->retry = &conf->policies[i];
	q->types = xcalloc(conf->read.nchannels, sizeof(*q->types));
	return q;
}

void
channels_link(struct conf *conf, const struct conf_drivers *drivers,
    struct conf_sink *sink)
{
	size_t n = conf->read.nchannels;

	if (n == 0)
		return;
	conf->notices = make_queue(conf, sink);
	conf->notice_handlers = xcalloc(n, sizeof(*conf->notice_handlers));
	for (size_t i = 0; i < n; i++) {
		const struct node_entry *entry = &conf->channels->entries[i];
		const struct channel_conf *c = &conf->read.channels[i];
		struct notice_handler *own = &conf->notice_handlers[i];

		check_strays(c, entry, sink);
		check_sign(c, entry, sink);
		if (c->nemail > 0)
			check_via(conf, c, entry, sink);
		if (count_ways(c) != 1) {
			complain_entry(sink, entry, "needs exactly one of "
			    "email:, webhook:, webhook_file: and exec:");
		} else if (c->nemail > 0) {
			add_type(conf->notices, c, conf_handler(conf, c->via));
		} else {
			make_handler(own, c, entry);
			check_handler(&own->handler, entry, drivers, sink);
			add_type(conf->notices, c, &own->handler);
		}
	}
}

void
channels_free(struct conf *conf)
{
	if (conf->notices != NULL) {
		free(conf->notices->name);
		keys_free(keys_of("queues"), conf->notices);
	}
	free(conf->notices);
	free(conf->notice_handlers);
}

const struct channel_conf *
conf_channel(const struct conf *conf, const char *name)
{
	for (size_t i = 0; i < conf->read.nchannels; i++)
		if (strcmp(conf->read.channels[i].name, name) == 0)
			return &conf->read.channels[i];
	return NULL;
}

void
link_channels(const struct conf *conf, const struct node *list, const char *key,
    char *const *names, size_t n, struct conf_sink *sink)
{
	for (size_t i = 0; i < n; i++)
		if (conf_channel(conf, names[i]) == NULL)
			complain_missing(sink, &list->entries[i], key,
			    "channel", names[i], conf->read.channels,
			    conf->read.nchannels, sizeof(*conf->read.channels));
}
