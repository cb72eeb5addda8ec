/*
 * What the tests of the configuration share: a directory of their own, and
 * loading a text as the file x.yml in it.
 */
#ifndef T_UNIT_CONFS_H
#define T_UNIT_CONFS_H

#include "unit.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "conf/conf.h"

static char confs_directory[] = "/tmp/jobqd-conf-XXXXXX";

static inline const char *const *
confs_names(void)
{
	static const char *const names[] = { "email", "exec", "http", "noop",
	    NULL };

	return names;
}

/* As the drivers do: what they do not know they complain of. */
static inline void
confs_check(const char *driver, const struct node *options,
    struct conf_sink *sink)
{
	static const char *const keys[] = { "driver", NULL };
	char *secret;

	if (strcmp(driver, "noop") == 0)
		node_known_keys(options, keys, sink);
	secret = node_secret(options, "password", sink);
	free(secret);
}

static const struct conf_drivers confs_drivers = {
	confs_names, confs_check
};

static inline int
confs_setup(void **state)
{
	(void)state;
	return mkdtemp(confs_directory) == NULL || chdir(confs_directory) != 0;
}

static inline int
confs_teardown(void **state)
{
	char command[100];

	(void)state;
	snprintf(command, sizeof(command), "rm -rf %s", confs_directory);
	return chdir("/") != 0 || system(command) != 0;
}

static inline void
confs_write(const char *name, const char *text)
{
	FILE *f = fopen(name, "w");

	assert_non_null(f);
	assert_true(fputs(text, f) >= 0);
	assert_int_equal(fclose(f), 0);
}

/* The text's configuration; its complaints, if any, fail the test. */
static inline struct conf *
confs_load(const char *text)
{
	struct conf *conf;
	char *complaints;

	confs_write("x.yml", text);
	conf = conf_load("x.yml", &confs_drivers, &complaints);
	if (conf == NULL)
		fail_msg("%s", complaints);
	assert_null(complaints);
	return conf;
}

/* The text's complaints; the caller frees. */
static inline char *
confs_complaints(const char *text)
{
	char *complaints;

	confs_write("x.yml", text);
	assert_null(conf_load("x.yml", &confs_drivers, &complaints));
	assert_non_null(complaints);
	return complaints;
}

static inline char *
confs_dump(const struct conf *conf)
{
	char *text = NULL;
	size_t size;
	FILE *f = open_memstream(&text, &size);

	assert_non_null(f);
	conf_dump(conf, f);
	assert_int_equal(fclose(f), 0);
	return text;
}

#endif
