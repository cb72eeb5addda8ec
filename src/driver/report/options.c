/*
 * The options of the handlers of reports.
 */
#include "config.h"

#include <stdlib.h>
#include <string.h>

#include "driver/report/options.h"

#define KEEP_DEFAULT (INT64_C(7) * 24 * 3600 * 1000)
#define SIZE_DEFAULT (INT64_C(1) << 30)
#define ATTACH_DEFAULT (INT64_C(64) << 10)
#define ATTACH_MAX (INT64_C(10) << 20)

static void
complain(struct conf_sink *sink, const struct node *options, const char *key,
    const char *why)
{
	const struct node_entry *at = node_entry(options, key);

	conf_complain(sink, at ? at->file : options->file, at ? at->line : options->line,
	    at ? at->column : options->column, "%s: %s", key, why);
}

static void
check_format(const struct node_entry *at, struct conf_sink *sink)
{
	const char *name = at->value->kind == NODE_SCALAR ? at->value->text : "";
	const struct format *f = format_find(name);

	if (f == NULL)
		conf_complain(sink, at->file, at->line, at->column,
		    "formats: \"%.100s\" is none of csv, json, ndjson, xlsx, pdf", name);
	else if (!f->present)
		conf_complain(sink, at->file, at->line, at->column,
		    "formats: this build writes no %s; build it with %s installed",
		    f->name, f->package);
}

static void
check_formats(const struct node *options, struct conf_sink *sink)
{
	const struct node *list = node_get(options, "formats");

	if (list == NULL)
		return;
	if (list->kind != NODE_LIST || list->count == 0) {
		complain(sink, options, "formats", "needs a list of formats");
		return;
	}
	for (size_t i = 0; i < list->count; i++)
		check_format(&list->entries[i], sink);
}

static void
check_mail(const struct node *options, struct conf_sink *sink)
{
	static const char *const keys[] = { "mail_type", "attach_max" };
	const char *text = "https://";
	int64_t size = 0;

	if (node_entry(options, "mail_queue") == NULL)
		for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++)
			if (node_entry(options, keys[i]) != NULL)
				complain(sink, options, keys[i], "needs mail_queue:");
	node_str(options, "link_base", &text, sink);
	if (strncmp(text, "https://", 8) != 0 && strncmp(text, "http://", 7) != 0)
		complain(sink, options, "link_base", "needs a http or https address");
	node_str(options, "mail_queue", &text, sink);
	node_str(options, "mail_type", &text, sink);
	node_size(options, "attach_max", &size, sink);
	if (size > ATTACH_MAX)
		complain(sink, options, "attach_max", "at most 10MiB");
}

void
report_options_check(const struct node *options, struct conf_sink *sink)
{
	static const char *const keys[] = {
		"driver", "directory", "reports", "formats", "keep", "bom", "role",
		"url", "url_file", "max_size", "mail_queue", "mail_type",
		"link_base", "attach_max", NULL
	};
	const char *text = "";
	bool yes;
	int64_t n = SIZE_DEFAULT;

	node_known_keys(options, keys, sink);
	node_str(options, "directory", &text, sink);
	if (*text != '/')
		complain(sink, options, "directory", "needs an absolute path");
	reports_check(options, sink);
	check_formats(options, sink);
	check_mail(options, sink);
	node_bool(options, "bom", &yes, sink);
	node_str(options, "role", &text, sink);
	node_size(options, "max_size", &n, sink);
	if (n < 1)
		complain(sink, options, "max_size", "must be more than 0");
	node_duration_ms(options, "keep", &n, sink);
	free(node_secret(options, "url", sink));
}

void
report_options_read(struct report_options *o, const struct node *options)
{
	const struct node *list = node_get(options, "formats");

	*o = (struct report_options){
		.role = "", .mail_queue = "", .mail_type = "email_notification",
		.link_base = "", .keep_ms = KEEP_DEFAULT, .max_size = SIZE_DEFAULT,
		.attach_max = ATTACH_DEFAULT
	};
	node_str(options, "directory", &o->directory, NULL);
	node_str(options, "role", &o->role, NULL);
	node_str(options, "mail_queue", &o->mail_queue, NULL);
	node_str(options, "mail_type", &o->mail_type, NULL);
	node_str(options, "link_base", &o->link_base, NULL);
	node_bool(options, "bom", &o->writer.bom, NULL);
	node_duration_ms(options, "keep", &o->keep_ms, NULL);
	node_size(options, "max_size", &o->max_size, NULL);
	node_size(options, "attach_max", &o->attach_max, NULL);
	o->writer.directory = o->directory;
	for (size_t i = 0; formats[i] != NULL; i++) {
		o->allowed[i] = list == NULL && formats[i]->present;
		for (size_t j = 0; list != NULL && j < list->count; j++)
			o->allowed[i] |= formats[i] ==
			    format_find(list->entries[j].value->text);
	}
}
