/*
 * jobqctl migrate: the schema, its roles, and the configuration's queues.
 */
#include "config.h"

#include <stdio.h>

#include "ctl/ctl.h"
#include "db/migrate.h"
#include "db/stmt.h"

static int run_all(struct ctl *, bool roles);

int
migrate_command(struct ctl *ctl, const struct args *a)
{
	if (args_has(a, "print")) {
		if (ctl->url == NULL && ctl->schema == NULL &&
		    ctl_configure(ctl) < 0)
			return CTL_FAILED;
		migrate_print(stdout, ctl->schema == NULL ? SCHEMA_DEFAULT :
		    ctl->schema);
		return CTL_DONE;
	}
	return run_all(ctl, args_has(a, "roles"));
}

static int
run_all(struct ctl *ctl, bool roles)
{
	struct err e;

	if (ctl_connect_bare(ctl) < 0)
		return CTL_FAILED;
	if (migrate_run(ctl->db, ctl->schema, &e) < 0)
		return ctl_fail("%s", e.msg);
	if (roles && migrate_roles(ctl->db, ctl->schema, &e) < 0)
		return ctl_fail("%s", e.msg);
	if (ctl->conf != NULL &&
	    migrate_register(ctl->db, ctl->conf, &e) < 0)
		return ctl_fail("%s", e.msg);
	if (ctl->json)
		printf("{\"schema\":\"%s\",\"version\":%d}\n", ctl->schema,
		    SCHEMA_VERSION);
	else
		printf("schema %s is at version %d%s\n", ctl->schema,
		    SCHEMA_VERSION, ctl->conf == NULL ? "" :
		    ", queues and schedules registered");
	return CTL_DONE;
}
