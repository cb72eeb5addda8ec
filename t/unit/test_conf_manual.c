/*
 * jobqd.yml(5) has every key with its default and range, and says which need
 * a restart and which do nothing yet.
 */
#include "confs.h"

#include "conf/keys.h"
#include "core/units.h"

static char *manual;
static int failures;

static void
missing(const char *section, const char *key, const char *what)
{
	print_error("%s: %s: %s is not in the manual\n", section, key, what);
	failures++;
}

/* The lines after the one that begins with start, up to the next such one;
 * they are cut out of text for good. */
static char *
cut(char *text, const char *start, const char *const *ends)
{
	size_t len = strlen(start);
	char *begin, *end = NULL;

	for (begin = text; begin != NULL; begin = strchr(begin, '\n')) {
		begin += *begin == '\n';
		if (strncmp(begin, start, len) == 0 && (begin[len] == '\n' ||
		    begin[len] == ' '))
			break;
	}
	if (begin == NULL)
		return NULL;
	for (; *ends != NULL; ends++) {
		char *here = strstr(begin + len, *ends);

		if (here != NULL && (end == NULL || here < end))
			end = here;
	}
	return end ? strndup(begin, (size_t)(end - begin)) : strdup(begin);
}

static void
check_range(const char *section, const char *path, const struct key *key,
    const char *item)
{
	char min[UNITS_TEXT_MAX], max[UNITS_TEXT_MAX], text[200];

	if (key->min == 0 && key->max == 0)
		return;
	if (key->type == KEY_DURATION) {
		units_format_duration(min, sizeof(min), key->min);
		units_format_duration(max, sizeof(max), key->max);
	} else if (key->type == KEY_SIZE) {
		units_format_size(min, sizeof(min), key->min);
		units_format_size(max, sizeof(max), key->max);
	} else {
		snprintf(min, sizeof(min), "%lld", (long long)key->min);
		snprintf(max, sizeof(max), "%lld", (long long)key->max);
	}
	snprintf(text, sizeof(text), " from %s to %s", min, max);
	if (strstr(item, text) == NULL)
		missing(section, path, text);
}

static void
check_key(const char *section, const char *path, const struct key *key,
    const char *text)
{
	static const char *const ends[] = { "\n.It ", "\n.El", NULL };
	char start[240], def[200];
	char *item;

	snprintf(start, sizeof(start), ".It Ic %s :", path);
	item = cut((char *)text, start, ends);
	if (item == NULL) {
		missing(section, path, "it");
		return;
	}
	snprintf(def, sizeof(def), key->def == NULL || *key->def == '\0' ?
	    ", default empty" : ", default Cm %s\n", key->def);
	if (key->def != NULL && strstr(item, def) == NULL)
		missing(section, path, def);
	for (size_t i = 0; key->names != NULL && key->names[i] != NULL; i++)
		if (strstr(item, key->names[i]) == NULL)
			missing(section, path, key->names[i]);
	check_range(section, path, key, item);
	if ((key->flags & KEY_RESTART) && strstr(item, "restart") == NULL)
		missing(section, path, "the restart");
	free(item);
}

static void
check_keys(const char *section, const char *prefix, const struct key *keys,
    const char *text)
{
	for (const struct key *key = keys; key->name != NULL; key++) {
		char path[200];

		if (key->flags & KEY_RESULT)
			continue;
		snprintf(path, sizeof(path), "%s%s", prefix, key->name);
		if (key->type == KEY_MAP || key->type == KEY_NAMED) {
			strcat(path, key->type == KEY_MAP ? "." : ".NAME.");
			check_keys(section, path, key->table, text);
		} else
			check_key(section, path, key, text);
	}
}

static void
test_conf_manual(void **state)
{
	static const char *const ends[] = { "\n.Ss ", "\n.Sh ", NULL };
	FILE *f = fopen(SRCDIR "/man/jobqd.yml.5", "r");
	size_t size = 0;

	(void)state;
	assert_non_null(f);
	assert_true(getdelim(&manual, &size, '\0', f) > 0);
	fclose(f);
	for (const struct key *key = conf_keys; key->name != NULL; key++) {
		char start[100], *text;

		if (key->type == KEY_CUSTOM)
			continue;
		snprintf(start, sizeof(start), ".Ss %s", key->name);
		text = cut(manual, start, ends);
		if (text == NULL) {
			missing(key->name, "", "the section");
			continue;
		}
		check_keys(key->name, "", key->table, text);
		free(text);
	}
	free(manual);
	assert_int_equal(failures, 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_conf_manual),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
