/*
 * jobqctl inventory: all there is, from the configuration and the database,
 * and how that differs from another inventory: one made earlier, of another
 * system, or written by hand.
 */
#include "config.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "conf/inventory.h"
#include "ctl/ctl.h"
#include "ctl/out.h"

#define COMPARE_DIFFERENT 1
#define COMPARE_TROUBLE 2	/* as diff(1) has them */
#define FILE_LIMIT (16u << 20)

/* What changes by itself, so that it makes no difference. */
static const char *const passing[] = { "name", "paused", "served", "alive",
	"version", "configured" };

static json_t *make(struct ctl *);
static int put_database(struct ctl *, json_t *all);
static void print(json_t *all);
static void print_entry(json_t *entry);
static void value_text(struct buf *, json_t *);
static int compare(struct ctl *, json_t *now, const char *path);
static json_t *read_file(const char *path);
static json_t *normal(json_t *list);
static json_t *differences(json_t *was, json_t *is);
static json_t *compare_counts(json_t *was, json_t *is);
static json_t *compare_section(json_t *was, json_t *is);
static json_t *compare_entry(json_t *was, json_t *is);
static void print_differences(json_t *all, const char *path);
static void print_json(json_t *);

int
inventory_run(struct ctl *ctl, const struct args *a)
{
	const char *other = args_get(a, "compare");
	json_t *all = make(ctl);
	int status = CTL_DONE;

	if (all == NULL)
		return other == NULL ? CTL_FAILED : COMPARE_TROUBLE;
	if (other != NULL)
		status = compare(ctl, all, other);
	else if (ctl->json)
		print_json(all);
	else
		print(all);
	json_decref(all);
	return status;
}

/* NULL: said why. */
static json_t *
make(struct ctl *ctl)
{
	json_t *all;

	if (ctl->url == NULL && ctl_configure(ctl) < 0)
		return NULL;
	all = inventory_new(ctl->url == NULL ? ctl->conf : NULL);
	if (ctl->url == NULL)
		json_object_set_new(all, "configuration",
		    json_string(ctl->conf_path));
	if (put_database(ctl, all) < 0) {
		json_decref(all);
		return NULL;
	}
	inventory_count(all);
	return all;
}

/*
 * What the database knows beside that. Without one the configuration is all
 * there is to tell, which is said.
 */
static int
put_database(struct ctl *ctl, json_t *all)
{
	bool known = ctl->conf != NULL;
	PGresult *res = ctl_query(ctl, "SELECT jobq.inventory(), "
	    "current_database(), " SQL_TIME("clock_timestamp()"), 0, NULL);
	json_t *found;

	json_object_set_new(all, "database", json_null());
	if (res == NULL) {
		if (!known)
			return -1;
		ctl_fail("the inventory is of the configuration alone");
		return 0;
	}
	found = json_loads(PQgetvalue(res, 0, 0), 0, NULL);
	json_object_set_new(all, "database", json_string(PQgetvalue(res, 0, 1)));
	json_object_set_new(all, "at", json_string(PQgetvalue(res, 0, 2)));
	PQclear(res);
	inventory_add(all, found, known);
	json_decref(found);
	return 0;
}

static void
print(json_t *all)
{
	json_t *counts = json_object_get(all, "counts"), *entry;
	const char *conf = json_string_value(json_object_get(all,
	    "configuration"));
	const char *db = json_string_value(json_object_get(all, "database"));
	size_t k;

	out_line("inventory of %s%s%s%s", conf == NULL ? "" : conf,
	    conf != NULL && db != NULL ? " and " : "",
	    db == NULL ? "" : "database ", db == NULL ? "" : db);
	out_line("%s", "");
	for (size_t i = 0; inventory_sections[i].name != NULL; i++)
		out_line("%-10s %6lld", inventory_sections[i].name,
		    (long long)json_integer_value(json_object_get(counts,
		    inventory_sections[i].name)));
	for (size_t i = 0; inventory_sections[i].name != NULL; i++) {
		json_t *list = json_object_get(all, inventory_sections[i].name);

		if (json_array_size(list) == 0)
			continue;
		out_line("\n%s", inventory_sections[i].name);
		json_array_foreach(list, k, entry)
			print_entry(entry);
	}
}

/* "  email  handlers=mailer workers=5 …" */
static void
print_entry(json_t *entry)
{
	struct buf line = { 0 };
	const char *key;
	json_t *value;

	buf_printf(&line, "  %s ", json_string_value(json_object_get(entry,
	    "name")));
	json_object_foreach(entry, key, value) {
		if (strcmp(key, "name") == 0 || json_is_null(value) ||
		    (json_is_string(value) && json_string_length(value) == 0) ||
		    (json_is_array(value) && json_array_size(value) == 0) ||
		    (strcmp(key, "configured") == 0 && json_is_true(value)))
			continue;
		buf_printf(&line, " %s=", key);
		value_text(&line, value);
	}
	out_line("%s", line.data);
	buf_clear(&line);
}

static void
value_text(struct buf *b, json_t *value)
{
	json_t *item;
	size_t i;

	if (json_is_array(value)) {
		json_array_foreach(value, i, item) {
			buf_str(b, i > 0 ? "," : "");
			value_text(b, item);
		}
	} else if (json_is_string(value)) {
		const char *text = json_string_value(value);

		if (text[strcspn(text, " =\t\n")] != '\0')
			buf_json(b, text, strlen(text));
		else
			buf_str(b, text);
	} else {
		char *text = json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT);

		buf_str(b, text == NULL ? "" : text);
		free(text);
	}
}

static int
compare(struct ctl *ctl, json_t *now, const char *path)
{
	json_t *before = read_file(path), *all;
	bool differs;

	if (before == NULL)
		return COMPARE_TROUBLE;
	all = differences(before, now);
	differs = json_is_true(json_object_get(all, "different"));
	if (ctl->json)
		print_json(all);
	else
		print_differences(all, path);
	json_decref(all);
	json_decref(before);
	return differs ? COMPARE_DIFFERENT : CTL_DONE;
}

/* NULL: said why. */
static json_t *
read_file(const char *path)
{
	json_error_t reason;
	FILE *f = fopen(path, "re");
	struct buf text = { 0 };
	char chunk[65536];
	json_t *all;
	size_t n;

	if (f == NULL) {
		ctl_fail("cannot open %s: %m", path);
		return NULL;
	}
	while ((n = fread(chunk, 1, sizeof(chunk), f)) > 0 &&
	    text.len <= FILE_LIMIT)
		buf_put(&text, chunk, n);
	fclose(f);
	all = text.len > FILE_LIMIT ? NULL :
	    json_loadb(text.len == 0 ? "" : text.data, text.len, 0, &reason);
	if (text.len > FILE_LIMIT)
		ctl_fail("%s is larger than %u MiB", path, FILE_LIMIT >> 20);
	else if (all == NULL)
		ctl_fail("%s:%d:%d: %s; it should be an inventory made by "
		    "\"jobqctl --json inventory\"", path, reason.line,
		    reason.column, reason.text);
	else if (!json_is_object(all)) {
		ctl_fail("%s is no inventory, which is a JSON object", path);
		json_decref(all);
		all = NULL;
	}
	buf_clear(&text);
	return all;
}

/*
 * Somebody's own inventory may have a list of names, or an object by names.
 * NULL: no list.
 */
static json_t *
normal(json_t *list)
{
	json_t *array, *value;
	const char *key;
	size_t i;

	if (!json_is_array(list) && !json_is_object(list))
		return NULL;
	array = json_array();
	json_array_foreach(list, i, value) {
		if (json_is_string(value))
			json_array_append_new(array,
			    json_pack("{s:O}", "name", value));
		else if (json_is_string(json_object_get(value, "name")))
			json_array_append(array, value);
	}
	json_object_foreach(list, key, value) {
		json_t *entry = json_is_object(value) ? json_copy(value) :
		    json_object();

		json_object_set_new(entry, "name", json_string(key));
		json_array_append_new(array, entry);
	}
	return array;
}

static json_t *
differences(json_t *was, json_t *is)
{
	json_t *all = json_object(), *counts = compare_counts(was, is);
	bool differs = false;
	const char *key;
	json_t *value;

	json_object_foreach(counts, key, value)
		differs |= json_integer_value(json_object_get(value, "before"))
		    != json_integer_value(json_object_get(value, "now"));
	json_object_set_new(all, "counts", counts);
	for (size_t i = 0; inventory_sections[i].name != NULL; i++) {
		json_t *list = normal(json_object_get(was, inventory_sections[i].name));

		if (list != NULL && !inventory_sections[i].moment) {
			value = compare_section(list,
			    json_object_get(is, inventory_sections[i].name));
			if (json_object_size(value) > 0)
				differs = true;
			json_object_set_new(all, inventory_sections[i].name, value);
		}
		json_decref(list);
	}
	json_object_set_new(all, "different", json_boolean(differs));
	return all;
}

/* Of what both have a count of, or a list to count. */
static json_t *
compare_counts(json_t *was, json_t *is)
{
	json_t *counts = json_object();

	for (size_t i = 0; inventory_sections[i].name != NULL; i++) {
		const char *name = inventory_sections[i].name;
		json_t *told = json_object_get(json_object_get(was, "counts"),
		    name), *one;
		json_t *list = normal(json_object_get(was, name));
		json_int_t now = json_integer_value(json_object_get(
		    json_object_get(is, "counts"), name));
		json_int_t before = json_is_integer(told) ?
		    json_integer_value(told) : (json_int_t)json_array_size(list);

		/* How many nodes run is no property of either. */
		if ((json_is_integer(told) || list != NULL) &&
		    strcmp(name, "nodes") != 0) {
			one = json_pack("{s:I,s:I}", "before", before,
			    "now", now);
			if (before > 0)
				json_object_set_new(one, "change_percent",
				    json_real((double)(now - before) * 100 /
				    (double)before));
			json_object_set_new(counts, name, one);
		}
		json_decref(list);
	}
	return counts;
}

/* missing, added: names; different: name → keys → before, now. */
static json_t *
compare_section(json_t *was, json_t *is)
{
	json_t *missing = json_array(), *added = json_array();
	json_t *different = json_object(), *all = json_object(), *entry;
	size_t i;

	json_array_foreach(was, i, entry) {
		json_t *name = json_object_get(entry, "name");
		json_t *now = inventory_find(is, json_string_value(name)), *d;

		if (now == NULL) {
			json_array_append(missing, name);
			continue;
		}
		d = compare_entry(entry, now);
		if (json_object_size(d) > 0)
			json_object_set(different, json_string_value(name), d);
		json_decref(d);
	}
	json_array_foreach(is, i, entry) {
		json_t *name = json_object_get(entry, "name");

		if (inventory_find(was, json_string_value(name)) == NULL)
			json_array_append(added, name);
	}
	if (json_array_size(missing) > 0)
		json_object_set(all, "missing", missing);
	if (json_array_size(added) > 0)
		json_object_set(all, "added", added);
	if (json_object_size(different) > 0)
		json_object_set(all, "different", different);
	json_decref(missing);
	json_decref(added);
	json_decref(different);
	return all;
}

/* What both say; of the rest one of them may just not know. */
static json_t *
compare_entry(json_t *was, json_t *is)
{
	json_t *d = json_object(), *value, *now;
	const char *key;

	json_object_foreach(was, key, value) {
		bool passes = false;

		for (size_t i = 0; i < sizeof(passing) / sizeof(*passing); i++)
			passes |= strcmp(passing[i], key) == 0;
		now = json_object_get(is, key);
		if (!passes && now != NULL && !json_equal(value, now))
			json_object_set_new(d, key, json_pack("{s:O,s:O}",
			    "before", value, "now", now));
	}
	return d;
}

static void
print_names(const char *section, const char *what, json_t *names)
{
	struct buf line = { 0 };

	if (json_array_size(names) == 0)
		return;
	value_text(&line, names);
	out_line("%s %s: %s", section, what, line.data);
	buf_clear(&line);
}

static void
print_differences(json_t *all, const char *path)
{
	json_t *count, *entry, *change;
	const char *name, *key;

	out_line("%-10s %8s %8s %9s", "", "before", "now", "change");
	json_object_foreach(json_object_get(all, "counts"), name, count) {
		json_t *percent = json_object_get(count, "change_percent");
		char text[32] = "";

		if (percent != NULL)
			snprintf(text, sizeof(text), "%+.0f %%",
			    json_real_value(percent));
		out_line("%-10s %8lld %8lld %9s", name,
		    (long long)json_integer_value(json_object_get(count, "before")),
		    (long long)json_integer_value(json_object_get(count, "now")),
		    text);
	}
	for (size_t i = 0; inventory_sections[i].name != NULL; i++) {
		json_t *s = json_object_get(all, inventory_sections[i].name);

		print_names(inventory_sections[i].name, "missing",
		    json_object_get(s, "missing"));
		print_names(inventory_sections[i].name, "added",
		    json_object_get(s, "added"));
		json_object_foreach(json_object_get(s, "different"), name, entry) {
			json_object_foreach(entry, key, change) {
				struct buf line = { 0 };

				value_text(&line, json_object_get(change, "before"));
				buf_str(&line, " -> ");
				value_text(&line, json_object_get(change, "now"));
				out_line("%s different: %s %s: %s", inventory_sections[i].name,
				    name, key, line.data);
				buf_clear(&line);
			}
		}
	}
	if (!json_is_true(json_object_get(all, "different")))
		out_line("nothing differs from %s", path);
}

static void
print_json(json_t *all)
{
	char *text = json_dumps(all, JSON_INDENT(1) | JSON_REAL_PRECISION(6));

	out_json_value(text);
	putchar('\n');
	free(text);
}
