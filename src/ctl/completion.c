/*
 * jobqctl completion: what a shell may put behind the words that are there.
 * The shells' own part is a few lines that ask "jobqctl complete WORD ...";
 * the answer comes from the tables of commands and options, and names from
 * the configuration and a database that answers at once.
 */
#include "config.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "ctl/ctl.h"
#include "ctl/out.h"
#include "db/stmt.h"

#define DATABASE_MS 1000
#define PATIENCE 2	/* seconds, a slow name server included */

/* The words before the one to complete. */
struct given {
	const char *operands[ARGS_MAX];
	int count;
	const struct option *open;	/* its value is to come; NULL: none */
	const struct ctl_command *command;	/* NULL: not complete yet */
	int words;			/* operands that are the command's name */
	const char *conf_path, *url, *schema;
	bool help;			/* "jobqctl help …" */
};

/* A line an answer: the word, a tab, what it is. */
static const char bash_script[] =
"# bash completion for jobqctl: source it, or see jobqctl(1)\n"
"_jobqctl() {\n"
"	local line\n"
"	COMPREPLY=()\n"
"	while IFS= read -r line; do\n"
"		if [ \"$line\" = :files ]; then\n"
"			compopt -o default\n"
"		else\n"
"			COMPREPLY+=(\"${line%%$'\\t'*}\")\n"
"		fi\n"
"	done < <(\"$1\" complete \"${COMP_WORDS[@]:1:COMP_CWORD}\" 2>/dev/null)\n"
"}\n"
"complete -F _jobqctl jobqctl\n";

static const char zsh_script[] =
"#compdef jobqctl\n"
"_jobqctl() {\n"
"	local line\n"
"	local -a found\n"
"	while IFS= read -r line; do\n"
"		if [[ $line == :files ]]; then\n"
"			_files\n"
"		else\n"
"			found+=(\"${${line%%$'\\t'*}//:/\\\\:}:${line#*$'\\t'}\")\n"
"		fi\n"
"	done < <(\"${words[1]}\" complete \"${(@)words[2,CURRENT]}\" 2>/dev/null)\n"
"	(( $#found )) && _describe -t values jobqctl found\n"
"}\n"
"if [[ ${funcstack[1]} == _jobqctl ]]; then\n"
"	_jobqctl \"$@\"\n"
"else\n"
"	compdef _jobqctl jobqctl\n"
"fi\n";

static const char fish_script[] =
"# fish completion for jobqctl\n"
"function __jobqctl_complete\n"
"	set -l words (commandline -opc)\n"
"	set -l current (commandline -ct)\n"
"	set -l program $words[1]\n"
"	set -e words[1]\n"
"	for line in (command $program complete $words \"$current\" 2>/dev/null)\n"
"		if test \"$line\" = :files\n"
"			__fish_complete_path \"$current\"\n"
"		else\n"
"			echo $line\n"
"		end\n"
"	end\n"
"end\n"
"complete -c jobqctl -f -a '(__jobqctl_complete)'\n";

static void look_at(struct given *, int argc, char **argv);
static void find_command(struct given *);
static void offer(const char *current, const char *word, const char *help);
static void offer_words(const char *current, const char *words);
static void offer_options(const struct given *, const char *current);
static void offer_commands(const struct given *, const char *current);
static void offer_value(const struct given *, const char *current);
static void offer_operand(const struct given *, const char *current);
static void offer_kind(const struct given *, const char *current,
    const char *kind, const char *group);
static void offer_names(const struct given *, const char *current,
    const char *section);
static void names_of_conf(json_t *names, const struct conf *,
    const char *section);
static void names_of_database(json_t *names, const char *url,
    const char *schema, const char *section);

int
completion_run(struct ctl *ctl, const struct args *a)
{
	const char *shell = a->operands[0];

	(void)ctl;
	if (strcmp(shell, "bash") == 0)
		fputs(bash_script, stdout);
	else if (strcmp(shell, "zsh") == 0)
		fputs(zsh_script, stdout);
	else if (strcmp(shell, "fish") == 0)
		fputs(fish_script, stdout);
	else
		return ctl_misuse("completion: for bash, zsh or fish, not \"%s\"",
		    shell);
	return CTL_DONE;
}

int
completion_words(int argc, char **argv)
{
	const char *current = argc > 0 ? argv[argc - 1] : "";
	struct given g = { 0 };

	/* bash takes "--queue=em" apart. */
	if (strcmp(current, "=") == 0)
		current = "";
	look_at(&g, argc > ARGS_MAX ? ARGS_MAX : argc - 1, argv);
	find_command(&g);
	if (g.open != NULL)
		offer_value(&g, current);
	else if (*current == '-')
		offer_options(&g, current);
	else if (g.command == NULL)
		offer_commands(&g, current);
	else if (!g.help)
		offer_operand(&g, current);
	return CTL_DONE;
}

static const struct option *
option_of(const char *word)
{
	const char *name = word + 2;

	if (word[0] == '-' && word[1] == '-')
		return args_option(name, strcspn(name, "="));
	return word[0] == '-' && word[2] == '\0' ? args_letter(word[1], NULL) : NULL;
}

static void
look_at(struct given *g, int argc, char **argv)
{
	for (int i = 0; i < argc; i++) {
		const char *word = argv[i], *equals = strchr(word, '=');

		if (g->open != NULL && strcmp(word, "=") == 0)
			continue;
		if (g->open != NULL || (*word == '-' && equals != NULL &&
		    (g->open = option_of(word)) != NULL)) {
			const char *value = equals != NULL && *word == '-' ?
			    equals + 1 : word;

			if (strcmp(g->open->name, "config") == 0)
				g->conf_path = value;
			else if (strcmp(g->open->name, "database") == 0)
				g->url = value;
			else if (strcmp(g->open->name, "schema") == 0)
				g->schema = value;
			g->open = NULL;
		} else if (*word == '-' && word[1] != '\0') {
			g->open = option_of(word);
			if (g->open != NULL && g->open->value == NULL)
				g->open = NULL;
		} else if (g->count == 0 && !g->help &&
		    strcmp(word, "help") == 0) {
			g->help = true;
		} else {
			g->operands[g->count++] = word;
		}
	}
}

static void
find_command(struct given *g)
{
	size_t count;
	const struct ctl_command *all = ctl_commands(&count);

	for (size_t i = 0; i < count && g->count > 0; i++) {
		size_t len = strcspn(all[i].name, " ");
		bool two = all[i].name[len] != '\0';

		if (strlen(g->operands[0]) == len &&
		    memcmp(all[i].name, g->operands[0], len) == 0 &&
		    (!two || (g->count > 1 &&
		    strcmp(all[i].name + len + 1, g->operands[1]) == 0))) {
			g->command = &all[i];
			g->words = two ? 2 : 1;
		}
	}
}

static void
offer(const char *current, const char *word, const char *help)
{
	struct buf b = { 0 };

	if (strncmp(word, current, strlen(current)) != 0)
		return;
	out_escape(&b, word, false);
	/* A name that had to be escaped is none that could be typed. */
	if (strcmp(b.data, word) == 0)
		printf("%s\t%s\n", word, help);
	buf_clear(&b);
}

/* "yes|no"; one alone says what it is, and is no word. */
static void
offer_words(const char *current, const char *words)
{
	char one[32];

	while (strchr(words, '|') != NULL || *words != '\0') {
		size_t len = strcspn(words, "|");

		snprintf(one, sizeof(one), "%.*s", (int)len, words);
		offer(current, one, "");
		words += len + (words[len] == '|');
	}
}

static void
offer_options(const struct given *g, const char *current)
{
	const char *lists[] = { g->command == NULL ? "" : g->command->options,
	    args_common };
	char word[64];

	for (int i = 0; i < 2; i++) {
		for (const char *p = lists[i]; *p != '\0';) {
			size_t len = strcspn(p, " ");
			const struct option *o = args_option(p, len);

			snprintf(word, sizeof(word), "--%s", o->name);
			offer(current, word, o->help);
			p += len + strspn(p + len, " ");
		}
	}
}

/* The first word of a command, or the second one. */
static void
offer_commands(const struct given *g, const char *current)
{
	size_t count;
	const struct ctl_command *all = ctl_commands(&count);
	char word[32], last[32] = "";

	if (g->count == 0 && !g->help)
		offer(current, "help", "the commands, or the options of one");
	for (size_t i = 0; i < count; i++) {
		const char *name = all[i].name;
		size_t len = strcspn(name, " ");
		bool two = name[len] != '\0';

		if (g->count == 1) {
			if (two && strlen(g->operands[0]) == len &&
			    memcmp(name, g->operands[0], len) == 0)
				offer(current, name + len + 1, all[i].help);
			continue;
		}
		snprintf(word, sizeof(word), "%.*s", (int)len, name);
		if (g->count == 0 && strcmp(word, last) != 0)
			offer(current, word, two ? "" : all[i].help);
		strlcpy(last, word, sizeof(last));
	}
}

static void
offer_value(const struct given *g, const char *current)
{
	const char *name = g->open->name;

	if (strcmp(name, "queue") == 0)
		offer_names(g, current, "queues");
	else if (strcmp(name, "state") == 0)
		offer_words(current, "scheduled|blocked|ready|running|retrying|"
		    "completed|dead|cancelled");
	else if (strcmp(name, "priority") == 0)
		offer_words(current, "critical|high|normal|low|very_low");
	else if (strcmp(name, "overlap") == 0)
		offer_words(current, "allow|skip|replace");
	else if (strcmp(name, "dst") == 0)
		offer_words(current, "standard|skip|clock");
	else if (strcmp(g->open->value, "yes|no") == 0)
		offer_words(current, g->open->value);
	else if (strcmp(g->open->value, "FILE") == 0)
		puts(":files");
}

/* By what stands in the command's line of the table: "QUEUE [TYPE]". */
static void
offer_operand(const struct given *g, const char *current)
{
	int n = g->count - g->words;
	const char *p = g->command->operands;
	char kind[32], group[32];

	while (n > 0 && *p != '\0') {
		p += strcspn(p, " ");
		p += strspn(p, " ");
		n--;
	}
	p += strspn(p, "['");
	snprintf(kind, sizeof(kind), "%.*s", (int)strcspn(p, " ]'"), p);
	snprintf(group, sizeof(group), "%.*s",
	    (int)strcspn(g->command->name, " "), g->command->name);
	if (*kind != '\0')
		offer_kind(g, current, kind, group);
}

static void
offer_kind(const struct given *g, const char *current, const char *kind,
    const char *group)
{
	char section[40];

	if (strcmp(kind, "QUEUE") == 0) {
		offer_names(g, current, "queues");
	} else if (strcmp(kind, "NAME") == 0) {
		snprintf(section, sizeof(section), "%ss", group);
		offer_names(g, current, section);
	} else if (strcmp(kind, "FILE") == 0) {
		puts(":files");
	} else if (strcmp(kind, "ROLE") == 0) {
		offer_words(current, "viewer|producer|operator|admin");
	} else if (kind[strcspn(kind, "|")] == '|' && kind[0] >= 'a') {
		offer_words(current, kind);
	}
}

static void
offer_names(const struct given *g, const char *current, const char *section)
{
	const char *path = g->conf_path != NULL ? g->conf_path :
	    conf_default_path();
	const char *url = g->url, *schema = g->schema, *name;
	json_t *names = json_object(), *more = json_object(), *value;
	char *complaints = NULL;
	struct conf *conf = NULL;

	if (url == NULL)
		conf = conf_load(path, NULL, &complaints);
	if (conf != NULL) {
		names_of_conf(names, conf, section);
		url = conf->database.url;
		if (schema == NULL)
			schema = conf->database.schema;
	}
	json_object_foreach(names, name, value)
		offer(current, name, "");
	fflush(stdout);		/* these are told in any case */
	alarm(PATIENCE);
	if (url != NULL)
		names_of_database(more, url,
		    schema != NULL ? schema : SCHEMA_DEFAULT, section);
	json_object_foreach(more, name, value)
		if (json_object_get(names, name) == NULL)
			offer(current, name, "");
	json_decref(names);
	json_decref(more);
	free(complaints);
	conf_free(conf);
}

static void
names_of_conf(json_t *names, const struct conf *conf, const char *section)
{
	const struct node *map = node_get(conf->root, section);

	for (size_t i = 0; map != NULL && map->kind == NODE_MAP &&
	    i < map->count; i++)
		json_object_set_new(names, map->entries[i].key, json_true());
}

/* Nothing, when it does not answer at once. */
static void
names_of_database(json_t *names, const char *url, const char *schema,
    const char *section)
{
	struct err e;
	PGconn *db = pgsync_open(url, "jobqctl", DATABASE_MS, &e);
	const char *params[] = { section };
	PGresult *res;
	char *sql;

	if (db == NULL)
		return;
	PQclear(pgsync_query(db, "SET statement_timeout = 1000", 0, NULL, &e));
	sql = stmt_in_schema("SELECT e ->> 'name' FROM "
	    "jsonb_array_elements(jobq.inventory() -> $1) e LIMIT 5000", schema);
	res = pgsync_query(db, sql, 1, params, &e);
	free(sql);
	for (int i = 0; res != NULL && i < PQntuples(res); i++)
		json_object_set_new(names, PQgetvalue(res, i, 0), json_true());
	PQclear(res);
	PQfinish(db);
}
