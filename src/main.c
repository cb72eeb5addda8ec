/*
 * jobqd: the daemon's command line, and the one table of what its processes
 * are. See jobqd(8).
 */
#include "config.h"

#include <getopt.h>
#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/api.h"
#include "conf/conf.h"
#include "db/pg.h"
#include "db/setup.h"
#include "driver/driver.h"
#include "master/dev.h"
#include "master/master.h"
#include "monitor/monitor.h"
#include "os/loop.h"
#include "os/proc.h"
#include "os/tls.h"
#include "pool/pool.h"
#include "sched/sched.h"
#include "worker/worker.h"

enum { EXIT_START = 1, EXIT_USAGE = 2, OPTION_DEV = 256 };

struct command {
	const char *path;		/* of the configuration */
	const char *signal;		/* -s */
	const char *directory;		/* of --dev */
	bool check, dump, version, help, detach, dev;
};

static const struct master_entries entries = {
	.setup = setup_main,
	.pool = pool_main,
	.worker = worker_main,
	.sched = sched_main,
	.monitor = monitor_main,
	.api = api_main,
};

static void
check_driver(const char *name, const struct node *options,
    struct conf_sink *sink)
{
	const struct driver *driver = driver_find(name);

	if (driver != NULL && driver->check != NULL)
		driver->check(options, sink);
}

static const struct conf_drivers drivers = {
	.names = driver_names,
	.check = check_driver,
};

static void
usage(FILE *out)
{
	fputs("usage: jobqd [-d] [-c FILE]\n"
	    "       jobqd -t | -T [-c FILE]\n"
	    "       jobqd -s reload|quit|stop|reopen [-c FILE]\n"
	    "       jobqd --dev [DIR]\n"
	    "       jobqd -V | -h\n"
	    "\n"
	    "  -c FILE  the configuration (default: $JOBQD_CONF, else "
	    SYSCONFDIR "/jobqd.yml)\n"
	    "  -d       detach; returns once the daemon is ready\n"
	    "  -t       check the configuration\n"
	    "  -T       print it with every default filled in\n"
	    "  -s NAME  signal the running daemon: reload; quit (graceful);\n"
	    "           stop (at once); reopen (the logs)\n"
	    "  --dev    run with a PostgreSQL and a configuration of its own\n"
	    "  -V       print versions\n"
	    "  -h       print this\n", out);
}

static int
parse(int argc, char **argv, struct command *c)
{
	static const struct option options[] = {
		{ "dev", no_argument, NULL, OPTION_DEV },
		{ "help", no_argument, NULL, 'h' },
		{ "version", no_argument, NULL, 'V' },
		{ NULL, 0, NULL, 0 },
	};
	int o;

	while ((o = getopt_long(argc, argv, "c:dhs:tTV", options, NULL)) != -1)
		switch (o) {
		case 'c': c->path = optarg; break;
		case 'd': c->detach = true; break;
		case 'h': c->help = true; break;
		case 's': c->signal = optarg; break;
		case 't': c->check = true; break;
		case 'T': c->dump = true; break;
		case 'V': c->version = true; break;
		case OPTION_DEV: c->dev = true; break;
		default: return -1;
		}
	if (c->dev && optind < argc)
		c->directory = argv[optind++];
	if (optind < argc) {
		fprintf(stderr, "jobqd: what is %s for?\n", argv[optind]);
		return -1;
	}
	if (c->dev && (c->detach || c->path != NULL || c->signal != NULL)) {
		fputs("jobqd: --dev goes without -c, -d and -s\n", stderr);
		return -1;
	}
	return 0;
}

static void
print_version(void)
{
	printf("jobqd %s\n", PACKAGE_VERSION);
	printf("drivers:");
	for (const char *const *name = driver_names(); *name != NULL; name++)
		printf(" %s", *name);
	printf("\nbuilt with: %s%s; configuration in %s\n", "gcc " __VERSION__,
#ifdef SANITIZED
	    ", address and undefined-behaviour sanitizers",
#else
	    "",
#endif
	    SYSCONFDIR);
	printf("libraries: %s, %s, %s, %s, jansson %s", loop_library(),
	    pg_library(), conf_library(), tls_library(), jansson_version_str());
	for (const char *const *name = driver_names(); *name != NULL; name++) {
		const struct driver *driver = driver_find(*name);

		if (driver->library != NULL)
			printf(", %s", driver->library());
	}
	printf("\n");
}

static struct conf *
load(const char *path)
{
	char *complaints = NULL;
	struct conf *conf = conf_load(path, &drivers, &complaints);

	if (conf == NULL)
		fputs(complaints, stderr);
	free(complaints);
	return conf;
}

static bool
files_are_good(struct conf *conf)
{
	char *complaints;
	bool good = conf_files(conf, &complaints) == 0;

	if (!good)
		fputs(complaints, stderr);
	free(complaints);
	return good;
}

static int
send_signal(struct conf *conf, const char *name)
{
	struct err e = { .code = ERR_NONE };
	int rc = master_signal(conf, name, &e);

	conf_free(conf);
	if (rc == 0)
		return EXIT_SUCCESS;
	fprintf(stderr, "jobqd: %s\n", e.msg);
	return e.code == ERR_CONFIG ? EXIT_USAGE : EXIT_START;
}

static int
look_at(struct conf *conf, const struct command *c)
{
	if (c->dump)
		conf_dump(conf, stdout);
	else
		printf("jobqd: the configuration file %s syntax is ok\n",
		    c->path);
	conf_free(conf);
	return fflush(stdout) == 0 ? EXIT_SUCCESS : EXIT_START;
}

static int
run(struct conf *conf, const struct command *c)
{
	struct master_options options = {
		.entries = &entries,
		.drivers = &drivers,
		.detach = c->detach,
		.dev = c->dev,
	};

	return master_main(conf, &options);
}

static int
run_dev(struct command *c)
{
	struct dev dev;
	struct err e;
	struct conf *conf;
	int status = EXIT_START;

	if (dev_prepare(&dev, c->directory, &drivers, &e) != 0)
		fprintf(stderr, "jobqd: %s\n", e.msg);
	else if ((conf = load(dev.path)) != NULL && files_are_good(conf))
		status = run(conf, c);
	dev_clear(&dev);
	return status;
}

int
main(int argc, char **argv)
{
	struct command c = { .path = NULL };
	struct conf *conf;

	proc_title_init(argc, argv);
	if (parse(argc, argv, &c) != 0) {
		usage(stderr);
		return EXIT_USAGE;
	}
	if (c.help)
		usage(stdout);
	else if (c.version)
		print_version();
	if (c.help || c.version)
		return EXIT_SUCCESS;
	if (c.dev)
		return run_dev(&c);
	if (c.path == NULL)
		c.path = conf_default_path();
	if ((conf = load(c.path)) == NULL)
		return EXIT_START;
	if (c.signal != NULL)
		return send_signal(conf, c.signal);
	if (c.dump)
		return look_at(conf, &c);
	if (!files_are_good(conf)) {
		conf_free(conf);
		return EXIT_START;
	}
	if (c.check)
		return look_at(conf, &c);
	return run(conf, &c);
}
