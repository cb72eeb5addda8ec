/*
 * Reports of the configuration: see reports.h.
 */
#include "config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/xalloc.h"
#include "driver/report/reports.h"

#define NAME_CHARS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-"
#define REPORT_NAME_MAX 63

static const char *const types[] = { "text", "integer", "number", "date", "boolean",
    NULL };

static void
complain(struct conf_sink *sink, const struct node_entry *at, const char *why)
{
	conf_complain(sink, at->file, at->line, at->column, "%.100s: %s",
	    at->key ? at->key : "reports", why);
}

/*
 * Checks
 */

/* A type's index; *optional with a "?" behind it. -1: there is none such. */
static int
parse_type(const char *text, bool *optional)
{
	size_t len = strlen(text);

	*optional = len > 0 && text[len - 1] == '?';
	len -= *optional;
	for (int i = 0; types[i] != NULL; i++)
		if (strlen(types[i]) == len && strncmp(types[i], text, len) == 0)
			return i;
	return -1;
}

/* A map of names and texts. */
static bool
check_map(const struct node_entry *at, struct conf_sink *sink)
{
	if (at->value->kind != NODE_MAP) {
		complain(sink, at, "needs a map");
		return false;
	}
	for (size_t i = 0; i < at->value->count; i++)
		if (at->value->entries[i].value->kind != NODE_SCALAR) {
			complain(sink, &at->value->entries[i], "needs a single value");
			return false;
		}
	return true;
}

static void
check_chart(const struct node_entry *at, struct conf_sink *sink)
{
	static const char *const keys[] = { "label", "value", NULL };

	if (!check_map(at, sink))
		return;
	node_known_keys(at->value, keys, sink);
	if (node_get(at->value, "label") == NULL || node_get(at->value, "value") == NULL)
		complain(sink, at, "needs label: and value:, two columns");
}

static void
check_report(const struct node_entry *at, struct conf_sink *sink)
{
	static const char *const keys[] = {
		"query", "title", "columns", "totals", "chart", "parameters", NULL
	};
	const struct node_entry *one;
	const char *text = "";
	bool optional;

	if (strspn(at->key, NAME_CHARS) < strlen(at->key) || *at->key == '\0' ||
	    strlen(at->key) > REPORT_NAME_MAX)
		complain(sink, at, "a report's name is 1 to 63 letters, digits, "
		    "_ and -");
	if (at->value->kind != NODE_MAP) {
		complain(sink, at, "needs a map of keys, query: first of all");
		return;
	}
	node_known_keys(at->value, keys, sink);
	node_str(at->value, "query", &text, sink);
	if (*text == '\0')
		complain(sink, at, "has no query:");
	node_str(at->value, "title", &text, sink);
	if ((one = node_entry(at->value, "columns")) != NULL)
		check_map(one, sink);
	if ((one = node_entry(at->value, "chart")) != NULL)
		check_chart(one, sink);
	if ((one = node_entry(at->value, "totals")) != NULL &&
	    one->value->kind != NODE_LIST)
		complain(sink, one, "needs a list of columns");
	if ((one = node_entry(at->value, "parameters")) == NULL ||
	    !check_map(one, sink))
		return;
	for (size_t i = 0; i < one->value->count; i++)
		if (parse_type(one->value->entries[i].value->text, &optional) < 0)
			complain(sink, &one->value->entries[i], "a parameter is text, "
			    "integer, number, date or boolean, with \"?\" when it "
			    "may be missing");
}

void
reports_check(const struct node *options, struct conf_sink *sink)
{
	const struct node_entry *at = node_entry(options, "reports");

	if (at == NULL || at->value->kind != NODE_MAP || at->value->count == 0 ||
	    at->value->count > REPORTS_MAX) {
		conf_complain(sink, at ? at->file : options->file,
		    at ? at->line : options->line, at ? at->column : options->column,
		    "reports: needs a map of names and reports");
		return;
	}
	for (size_t i = 0; i < at->value->count; i++)
		check_report(&at->value->entries[i], sink);
}

/*
 * Use
 */

bool
reports_find(const struct node *options, const char *name, struct report *r)
{
	const struct node *all = node_get(options, "reports"), *chart;
	const struct node_entry *at = node_entry(all, name);

	if (at == NULL)
		return false;
	memset(r, 0, sizeof(*r));
	r->name = r->title = at->key;
	r->label = r->value = r->query = "";
	node_str(at->value, "query", &r->query, NULL);
	node_str(at->value, "title", &r->title, NULL);
	r->columns = node_get(at->value, "columns");
	r->totals = node_get(at->value, "totals");
	r->parameters = node_get(at->value, "parameters");
	chart = node_get(at->value, "chart");
	node_str(chart, "label", &r->label, NULL);
	node_str(chart, "value", &r->value, NULL);
	return true;
}

const char *
reports_only(const struct node *options)
{
	const struct node *all = node_get(options, "reports");

	return all->count == 1 ? all->entries[0].key : NULL;
}

static bool
is_date(const json_t *value)
{
	const char *text = json_string_value(value);
	int year, month, day, n = 0;

	return text != NULL && strspn(text, "0123456789-") >= 10 &&
	    sscanf(text, "%4d-%2d-%2d%n", &year, &month, &day, &n) == 3 &&
	    n == 10 && strchr("T ", text[n]) != NULL && month >= 1 &&
	    month <= 12 && day >= 1 && day <= 31;
}

static bool
is_of_type(const json_t *value, int type)
{
	switch (type) {
	case 0:
		return json_is_string(value);
	case 1:
		return json_is_integer(value);
	case 2:
		return json_is_number(value);
	case 3:
		return is_date(value);
	default:
		return json_is_boolean(value);
	}
}

int
report_parameters(const struct report *r, const json_t *data, struct err *e)
{
	const json_t *filters = json_object_get(data, "filters");

	for (size_t i = 0; r->parameters != NULL && i < r->parameters->count; i++) {
		const struct node_entry *p = &r->parameters->entries[i];
		const json_t *value = json_object_get(data, p->key);
		bool optional;
		int type = parse_type(p->value->text, &optional);

		if (value == NULL)
			value = json_object_get(filters, p->key);
		if (value == NULL || json_is_null(value)) {
			if (!optional)
				return err_set(e, "%s: the report %s needs it (%s)",
				    p->key, r->name, types[type]);
		} else if (!is_of_type(value, type)) {
			return err_set(e, "%s: is no %s", p->key,
			    type == 3 ? "date, as 2026-12-31" : types[type]);
		}
	}
	return 0;
}

/*
 * Tables
 */

static int
column_of(const struct table *t, const char *name)
{
	for (int i = 0; i < t->ncolumns; i++)
		if (strcmp(t->columns[i].name, name) == 0)
			return i;
	return -1;
}

static int
missing(const struct report *r, const char *key, const char *name, struct err *e)
{
	return err_set(e, "report %s: %s: the query has no column \"%.100s\"",
	    r->name, key, name);
}

static int
set_titles(const struct report *r, struct table *t, struct err *e)
{
	for (size_t i = 0; r->columns != NULL && i < r->columns->count; i++) {
		const struct node_entry *at = &r->columns->entries[i];
		int column = column_of(t, at->key);

		if (column < 0)
			return missing(r, "columns", at->key, e);
		free(t->columns[column].title);
		t->columns[column].title = xstrdup(at->value->text);
	}
	for (size_t i = 0; r->totals != NULL && i < r->totals->count; i++) {
		const char *name = r->totals->entries[i].value->text;
		int column = name ? column_of(t, name) : -1;

		if (column < 0)
			return missing(r, "totals", name ? name : "", e);
		t->columns[column].summed = t->any_total = true;
	}
	if (*r->label == '\0' && *r->value == '\0')
		return 0;
	t->chart.label = column_of(t, r->label);
	t->chart.value = column_of(t, r->value);
	if (t->chart.label < 0 || t->chart.value < 0)
		return missing(r, "chart", t->chart.label < 0 ? r->label : r->value, e);
	return 0;
}

int
report_table(const struct report *r, const struct session_row *head,
    struct table *t, struct err *e)
{
	memset(t, 0, sizeof(*t));
	t->name = r->name;
	t->title = r->title;
	t->chart.label = t->chart.value = -1;
	t->ncolumns = session_columns(head);
	if (t->ncolumns > TABLE_COLUMNS_MAX || t->ncolumns == 0) {
		t->ncolumns = 0;
		return err_set(e, "report %s: the query has no columns, or more than %d",
		    r->name, TABLE_COLUMNS_MAX);
	}
	t->columns = xcalloc((size_t)t->ncolumns, sizeof(*t->columns));
	for (int i = 0; i < t->ncolumns; i++) {
		t->columns[i].name = xstrdup(session_name(head, i));
		t->columns[i].title = xstrdup(session_name(head, i));
		t->columns[i].kind = session_kind(head, i);
	}
	return set_titles(r, t, e);
}

static void
count_bar(struct chart *c, const struct value *label, const struct value *value)
{
	char text[64] = "(none)";
	int i = 0;

	if (value->text == NULL)
		return;
	if (label->text != NULL)
		snprintf(text, sizeof(text), "%.*s",
		    (int)(label->len < 60 ? label->len : 60), label->text);
	while (i < c->nbars && strcmp(c->bars[i].text, text) != 0)
		i++;
	if (i >= CHART_BARS_MAX) {
		i = CHART_BARS_MAX;
		snprintf(text, sizeof(text), "(others)");
	}
	if (c->bars[i].text == NULL) {
		c->bars[i].text = xstrdup(text);
		c->nbars = i + 1;
	}
	total_add(&c->bars[i].total, value->text, value->len);
}

void
report_count(struct table *t, const struct value *v)
{
	t->nrows++;
	for (int i = 0; t->any_total && i < t->ncolumns; i++)
		if (t->columns[i].summed && v[i].text != NULL)
			total_add(&t->columns[i].total, v[i].text, v[i].len);
	if (t->chart.label >= 0)
		count_bar(&t->chart, &v[t->chart.label], &v[t->chart.value]);
}

void
report_table_clear(struct table *t)
{
	for (int i = 0; i < t->ncolumns; i++) {
		free(t->columns[i].name);
		free(t->columns[i].title);
	}
	free(t->columns);
	for (int i = 0; i < t->chart.nbars; i++)
		free(t->chart.bars[i].text);
	memset(t, 0, sizeof(*t));
}
