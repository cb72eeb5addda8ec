/*
 * jobqd --dev: see dev.h. The configuration that is written here shows each
 * driver of this build; mail goes into files, webhooks may go to this machine.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "base/xalloc.h"
#include "master/dev.h"
#include "os/listen.h"
#include "os/priv.h"
#include "os/tree.h"

#define API_PORT 8787

/* ^ stands for the directory. Each part but the first is there when this
 * build has its driver. */
static const char sample_daemon[] =
    "# Written by jobqd --dev; change it and send the master a HUP.\n"
    "daemon:\n"
    "  pid_file: \"^/jobqd.pid\"\n"
    "  shutdown_timeout: 5s\n";
static const char sample_rest[] =
    "database: {embedded: \"^/postgres\"}\n"
    "log: {file: stderr}\n"
    "monitor: {interval: 10s, health_file: \"^/health.json\"}\n";

static const struct {
	const char *driver, *handler, *queue;
} samples[] = {
	{ "noop", "  nothing: {driver: noop}\n",
	    "  default:  {handler: nothing, workers: 2}\n" },
	{ "exec", "  upper:   {driver: exec, argv: [/usr/bin/tr, a-z, A-Z]}\n",
	    "  programs: {handler: upper, workers: 2}\n" },
	{ "http", "  webhook: {driver: http, allow_private: true}\n",
	    "  webhooks: {handler: webhook, workers: 1, concurrency: 50}\n" },
	{ "email", "  mailer:  {driver: email, server: \"file:^/mail\", "
	    "from: \"dev@example.com\"}\n",
	    "  email:    {handler: mailer, workers: 1}\n" },
};
#define NSAMPLES (sizeof(samples) / sizeof(samples[0]))

static const char sample_schedules[] =
    "\nschedules:\n"
    "  tick: {every: 1m, queue: default, type: tick}\n";

/* An ordinary user to be when started as root, as PostgreSQL cannot be root. */
static bool
ordinary_user(struct identity *who)
{
	return geteuid() == 0 && (priv_find("postgres", "", who, NULL) == 0 ||
	    priv_find("nobody", "", who, NULL) == 0);
}

static bool
has_driver(const struct conf_drivers *drivers, const char *wanted)
{
	for (const char *const *name = drivers->names(); *name != NULL; name++)
		if (strcmp(*name, wanted) == 0)
			return true;
	return false;
}

static void
put_text(FILE *f, const struct dev *dev, const char *text)
{
	for (; *text != '\0'; text++)
		if (*text == '^')
			fputs(dev->directory, f);
		else
			fputc(*text, f);
}

/* The default port; another one where somebody has that already. */
static void
put_api(FILE *f, const struct dev *dev)
{
	int port = listen_free_port(API_PORT);

	if (port > 0)
		fprintf(f, "api: {listen: \"127.0.0.1:%d\", "
		    "tokens_file: \"%s/tokens\"}\n", port, dev->directory);
	else
		fputs("api: {listen: off}\n", f);
}

static void
put_sample(FILE *f, const struct dev *dev, const struct conf_drivers *drivers,
    const struct identity *who)
{
	put_text(f, dev, sample_daemon);
	if (who != NULL)
		fprintf(f, "  user: %s\n  group: \"\"\n", who->name);
	put_text(f, dev, sample_rest);
	put_api(f, dev);
	fputs("\nhandlers:\n", f);
	for (size_t i = 0; i < NSAMPLES; i++)
		if (has_driver(drivers, samples[i].driver))
			put_text(f, dev, samples[i].handler);
	fputs("\nqueues:\n", f);
	for (size_t i = 0; i < NSAMPLES; i++)
		if (has_driver(drivers, samples[i].driver))
			fputs(samples[i].queue, f);
	fputs(sample_schedules, f);
}

static int
write_sample(const struct dev *dev, const struct conf_drivers *drivers,
    const struct identity *who, struct err *e)
{
	FILE *f = fopen(dev->path, "wxe");
	bool fine;

	if (f == NULL)
		return errno == EEXIST ? 0 :
		    err_errno(e, "cannot write %s", dev->path);
	put_sample(f, dev, drivers, who);
	fine = ferror(f) == 0;
	if (fclose(f) != 0 || !fine)
		return err_errno(e, "cannot write %s", dev->path);
	return 0;
}

static int
make_directory(struct dev *dev, const char *directory, struct err *e)
{
	char fresh[] = "/tmp/jobqd-dev-XXXXXX";

	if (directory == NULL) {
		if (mkdtemp(fresh) == NULL)
			return err_errno(e, "cannot make a directory in /tmp");
		dev->ours = true;
		dev->directory = xstrdup(fresh);
		return 0;
	}
	if (tree_make(directory, 0700, e) != 0)
		return -1;
	if ((dev->directory = realpath(directory, NULL)) == NULL)
		return err_errno(e, "cannot find %s", directory);
	return 0;
}

/* A file of the directory, with a line; one that is there stays. */
static int
put_line(const char *path, const char *line, struct err *e)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	bool fine;

	if (fd < 0)
		return errno == EEXIST ? 0 : err_errno(e, "cannot write %s", path);
	fine = dprintf(fd, "%s\n", line) > 0;
	if (close(fd) == 0 && fine)
		return 0;
	return err_errno(e, "cannot write %s", path);
}

/* A token for whoever has started this: itself in the file token, to be told
 * again at the next start, and its digest in tokens, for the API. */
static int
write_token(const struct dev *dev, struct err *e)
{
	char *path = xasprintf("%s/token", dev->directory);
	char *tokens = xasprintf("%s/tokens", dev->directory);
	char token[TOKEN_TEXT_MAX], *line = token_make("dev", ROLE_ADMIN, "*", token);
	int rc = 0;

	/* One without the other is of no use. */
	if (access(path, F_OK) != 0 && access(tokens, F_OK) != 0 &&
	    (rc = put_line(path, token, e)) == 0)
		rc = put_line(tokens, line, e);
	free(line);
	free(path);
	free(tokens);
	return rc;
}

/* As root the directory becomes the ordinary user's, with its few files. */
static int
hand_over(const struct dev *dev, const struct identity *who, struct err *e)
{
	static const char *const files[] = { "", "/mail", "/jobqd.yml", "/token", "/tokens" };
	char *mail = xasprintf("%s/mail", dev->directory);
	int rc = 0;

	if (mkdir(mail, 0700) != 0 && errno != EEXIST)
		rc = err_errno(e, "cannot make the directory %s", mail);
	for (size_t i = 0; rc == 0 && who != NULL && i < sizeof(files) / sizeof(*files); i++) {
		char *path = xasprintf("%s%s", dev->directory, files[i]);

		if (chown(path, who->uid, who->gid) != 0 && errno != ENOENT)
			rc = err_errno(e, "cannot give %s to user %s", path, who->name);
		free(path);
	}
	free(mail);
	return rc;
}

int
dev_prepare(struct dev *dev, const char *directory,
    const struct conf_drivers *drivers, struct err *e)
{
	struct identity user;
	const struct identity *who = ordinary_user(&user) ? &user : NULL;

	memset(dev, 0, sizeof(*dev));
	if (make_directory(dev, directory, e) != 0)
		return -1;
	if (strpbrk(dev->directory, "\"'\\$`") != NULL)
		return err_set(e, "the name of %s has a character that its "
		    "configuration could not hold", dev->directory);
	dev->path = xasprintf("%s/jobqd.yml", dev->directory);
	if (write_sample(dev, drivers, who, e) != 0 || write_token(dev, e) != 0)
		return -1;
	return hand_over(dev, who, e);
}

void
dev_clear(struct dev *dev)
{
	struct err e;

	if (dev->ours && tree_remove(dev->directory, &e) != 0)
		log_warn("the directory stays", "reason=%s", e.msg);
	free(dev->directory);
	free(dev->path);
}

void
dev_say(const struct conf *conf)
{
	char *path = xasprintf("%.*s/token", (int)(strrchr(conf->path, '/') - conf->path),
	    conf->path), token[TOKEN_TEXT_MAX] = "";
	const char *listen = conf->api.listen;
	FILE *f = fopen(path, "re");

	if (f != NULL && fgets(token, sizeof(token), f) != NULL)
		token[strcspn(token, "\n")] = '\0';
	if (f != NULL)
		fclose(f);
	free(path);
	fprintf(stderr, "# jobqd --dev, configuration %s, all of it in this directory\n",
	    conf->path);
	if (strchr(listen, '/') == NULL && strcmp(listen, "off") != 0)
		fprintf(stderr, "http://%s/\nhttp://%s/readyz\nhttp://%s/metrics\n",
		    listen, listen, listen);
	if (*token != '\0')
		fprintf(stderr, "token %s\n", token);
	fprintf(stderr, "psql \"%s\"\n", conf->database.url);
}
