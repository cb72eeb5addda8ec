/*
 * The command of a job: see command.h.
 */
#include "config.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/buf.h"
#include "base/xalloc.h"
#include "conf/conf.h"
#include "core/jtext.h"
#include "core/template.h"
#include "driver/command.h"
#include "os/spawn.h"

#define ARGS_MAX 1000
#define NAME_CHARS "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_"
#define MEMBER_NAME_MAX 64
#define MEMBERS_MAX 100
#define MEMBER_MAX (64u << 10)	/* bytes of a value; the system takes 128 KiB */

/* fixed: there is no job to put in. */
static void
check_text(const struct node_entry *entry, const char *what, bool fixed,
    struct conf_sink *sink)
{
	const struct node *value = entry->value;
	struct err e;

	if (value->kind != NODE_SCALAR)
		conf_complain(sink, entry->file, entry->line, entry->column,
		    "%s: needs a single value", what);
	else if (template_check(value->text, &e) < 0)
		conf_complain(sink, entry->file, entry->line, entry->column,
		    "%s: %s", what, e.msg);
	else if (fixed && template_used(value->text))
		conf_complain(sink, entry->file, entry->line, entry->column,
		    "%s: the program is kept for many jobs, so nothing of one can "
		    "be put in", what);
}

static void
check_argv(const struct node *options, bool fixed, struct conf_sink *sink)
{
	const struct node *argv = node_get(options, "argv");

	if (argv == NULL || argv->kind != NODE_LIST || argv->count == 0 ||
	    argv->count > ARGS_MAX) {
		const struct node *at = argv ? argv : options;

		conf_complain(sink, at->file, at->line, at->column,
		    "argv: needs a list: the program and its arguments");
		return;
	}
	for (size_t i = 0; i < argv->count; i++)
		check_text(&argv->entries[i], "argv", fixed, sink);
	if (argv->entries[0].value->kind == NODE_SCALAR &&
	    argv->entries[0].value->text[0] == '\0')
		conf_complain(sink, argv->entries[0].file,
		    argv->entries[0].line, argv->entries[0].column,
		    "argv: the program's name is empty");
}

static void
check_env(const struct node *options, bool fixed, struct conf_sink *sink)
{
	const struct node_entry *env = node_entry(options, "env");

	if (env == NULL)
		return;
	if (env->value->kind != NODE_MAP) {
		conf_complain(sink, env->file, env->line, env->column,
		    "env: needs a map of names and values");
		return;
	}
	for (size_t i = 0; i < env->value->count; i++) {
		const struct node_entry *var = &env->value->entries[i];

		if (var->key[0] == '\0' || strchr(var->key, '=') != NULL ||
		    strncmp(var->key, "JOBQ_", 5) == 0)
			conf_complain(sink, var->file, var->line, var->column,
			    "env: \"%s\" cannot be the name of a variable "
			    "(no \"=\", not JOBQ_…)", var->key);
		check_text(var, "env", fixed, sink);
	}
}

static void
check_directory(const struct node *options, struct conf_sink *sink)
{
	const char *directory = "/";

	node_str(options, "directory", &directory, sink);
	if (directory[0] != '/')
		conf_complain(sink, node_entry(options, "directory")->file,
		    node_entry(options, "directory")->line,
		    node_entry(options, "directory")->column,
		    "directory: needs an absolute path");
}

void
command_check_fixed(const struct node *options, struct conf_sink *sink)
{
	check_argv(options, true, sink);
	check_env(options, true, sink);
	check_directory(options, sink);
}

void
command_check(const struct node *options, struct conf_sink *sink)
{
	static const char *const keys[] = {
		"driver", "argv", "env", "env_prefix", "directory", NULL
	};
	const char *prefix = "";

	node_known_keys(options, keys, sink);
	check_argv(options, false, sink);
	check_env(options, false, sink);
	check_directory(options, sink);
	node_str(options, "env_prefix", &prefix, sink);
	if (prefix[strspn(prefix, NAME_CHARS)] != '\0' ||
	    strncmp(prefix, "JOBQ_", 5) == 0 || isdigit((unsigned char)*prefix))
		conf_complain(sink, node_entry(options, "env_prefix")->file,
		    node_entry(options, "env_prefix")->line,
		    node_entry(options, "env_prefix")->column,
		    "env_prefix: needs capitals, digits and _, no digit first, "
		    "and is not JOBQ_");
}

static int
expand(struct strings *s, const char *prefix, const char *text,
    const char *context, struct err *e)
{
	struct buf b = { .len = 0 };

	buf_str(&b, prefix);
	if (template_expand(text, context, TEMPLATE_TEXT, &b, e) < 0) {
		buf_clear(&b);
		return -1;
	}
	strings_take(s, buf_detach(&b));
	return 0;
}

static int
make_argv(const struct node *options, const char *context,
    struct strings *argv, struct err *e)
{
	const struct node *list = node_get(options, "argv");

	for (size_t i = 0; i < list->count; i++)
		if (expand(argv, "", list->entries[i].value->text, context,
		    e) < 0)
			return err_prepend(e, "argv");
	return 0;
}

static void
put_variable(struct strings *env, const char *name, const char *value)
{
	strings_take(env, xasprintf("%s=%s", name, value));
}

static bool
has_variable(const struct strings *env, const char *name)
{
	size_t len = strlen(name);

	for (size_t i = 0; i < env->n; i++)
		if (strncmp(env->v[i], name, len) == 0 && env->v[i][len] == '=')
			return true;
	return false;
}

/* PREFIX_QUEUE=email for {"queue": "email"}: every member of the data that is a
 * single value and whose name can be a variable's. What is too long is in the
 * data all the same. */
static void
put_members(struct strings *env, const char *prefix, const char *data)
{
	struct jtext_entry one;
	char name[MEMBER_NAME_MAX + 1];

	for (int n = 0; n < MEMBERS_MAX && jtext_next(&data, &one); n++) {
		size_t len = 0, i;
		char *value;

		for (i = 0; i < one.key_len && i < MEMBER_NAME_MAX; i++)
			name[i] = (char)toupper((unsigned char)one.key[i]);
		name[i] = '\0';
		if (i < one.key_len || name[strspn(name, NAME_CHARS)] != '\0' ||
		    one.key_len == 0 || *one.value == '{' || *one.value == '[')
			continue;
		if (*one.value == '"')
			value = jtext_string(one.value, one.len, &len);
		else
			value = xstrndup(one.value, len = *one.value == 'n' ? 0 :
			    one.len);
		if (value != NULL && len <= MEMBER_MAX &&
		    memchr(value, '\0', len) == NULL)
			strings_take(env, xasprintf("%s%s=%s", prefix, name,
			    value));
		free(value);
	}
}

/* The configuration's. */
static int
make_own(const struct node *options, const char *context, struct strings *env,
    struct err *e)
{
	const struct node *map = node_get(options, "env");

	for (size_t i = 0; map != NULL && i < map->count; i++) {
		char *name = xasprintf("%s=", map->entries[i].key);
		int rc = expand(env, name, map->entries[i].value->text, context,
		    e);

		free(name);
		if (rc < 0)
			return err_prepend(e, "env");
	}
	return 0;
}

static void
put_job(const struct run *run, struct strings *env)
{
	const char *prefix = "";
	char number[24];

	node_str(run->ctx->handler->options, "env_prefix", &prefix, NULL);
	if (*prefix != '\0')
		put_members(env, prefix, run->job->data);
	snprintf(number, sizeof(number), "%lld", (long long)run->job->id);
	put_variable(env, "JOBQ_ID", number);
	snprintf(number, sizeof(number), "%d", run->job->attempt);
	put_variable(env, "JOBQ_ATTEMPT", number);
	put_variable(env, "JOBQ_TOKEN", run->token);
	put_variable(env, "JOBQ_TYPE", run->job->type);
	put_variable(env, "JOBQ_TENANT", run->job->tenant ? run->job->tenant : "");
}

/* The queue, and a little of our own environment: not all of it, since secrets
 * of the daemon may be there. */
static void
put_ours(const struct driver_ctx *ctx, struct strings *env)
{
	static const char *const passed[] = {
		"PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR", "USER", "LOGNAME",
	};

	put_variable(env, "JOBQ_QUEUE", ctx->queue->name);
	for (size_t i = 0; i < sizeof(passed) / sizeof(passed[0]); i++)
		if (getenv(passed[i]) != NULL && !has_variable(env, passed[i]))
			put_variable(env, passed[i], getenv(passed[i]));
	if (!has_variable(env, "PATH"))
		put_variable(env, "PATH", SPAWN_PATH);
}

int
command_make(const struct run *run, struct strings *argv, struct strings *env,
    struct err *e)
{
	const struct node *options = run->ctx->handler->options;
	struct buf context = { 0 };
	int rc;

	template_context(&context, run->job, run->ctx->queue->name,
	    (int64_t)time(NULL));
	rc = make_argv(options, context.data, argv, e);
	if (rc == 0)
		rc = make_own(options, context.data, env, e);
	buf_clear(&context);
	if (rc < 0)
		return -1;
	put_job(run, env);
	put_ours(run->ctx, env);
	return 0;
}

int
command_make_fixed(const struct driver_ctx *ctx, struct strings *argv,
    struct strings *env, struct err *e)
{
	const struct node *options = ctx->handler->options;

	if (make_argv(options, "{}", argv, e) < 0 ||
	    make_own(options, "{}", env, e) < 0)
		return -1;
	put_ours(ctx, env);
	return 0;
}
