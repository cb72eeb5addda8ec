/*
 * jobqd --dev: see dev.h. The configuration that is written here shows each
 * driver of this build; mail goes into files, webhooks may go to this machine.
 */
#include "config.h"

#include <errno.h>
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
put_api(FILE *f)
{
	int port = listen_free_port(API_PORT);

	if (port > 0)
		fprintf(f, "api: {listen: \"127.0.0.1:%d\"}\n", port);
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
	put_api(f);
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

/* As root the directory becomes the ordinary user's, with its few files. */
static int
hand_over(const struct dev *dev, const struct identity *who, struct err *e)
{
	char *mail = xasprintf("%s/mail", dev->directory);
	int rc = 0;

	if (mkdir(mail, 0700) != 0 && errno != EEXIST)
		rc = err_errno(e, "cannot make the directory %s", mail);
	else if (who != NULL && (chown(dev->directory, who->uid, who->gid) != 0 ||
	    chown(mail, who->uid, who->gid) != 0 ||
	    chown(dev->path, who->uid, who->gid) != 0))
		rc = err_errno(e, "cannot give %s to user %s", dev->directory,
		    who->name);
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
	if (write_sample(dev, drivers, who, e) != 0)
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
