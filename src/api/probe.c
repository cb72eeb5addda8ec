/*
 * Probes: see probe.h. What makes a jobqd unhealthy is what a restart of it
 * may mend. A database that is away is not: it makes it not ready.
 */
#include "config.h"

#include "api/probe.h"
#include "os/board.h"

#define MASTER_SILENT (35 * MONO_SECOND)	/* it beats every ten */

/* The monitor's last look at the node; without one, what stands for it. */
static void
answer_health(struct exchange *x, const char *otherwise)
{
	x->status = 200;
	x->type = "application/json";
	if (board_read(BOARD_HEALTH, &x->body) < 0 || x->body.len == 0)
		buf_str(&x->body, otherwise);
	exchange_done(x);
}

void
probe_alive(struct exchange *x, void *arg)
{
	(void)arg;
	if (board_since_beat() <= MASTER_SILENT) {
		x->status = 200;
		x->type = "application/json";
		buf_str(&x->body, "{\"status\":\"alive\"}\n");
	} else {
		exchange_problem(x, 503, "the master has not been heard of for %lld s",
		    (long long)(board_since_beat() / MONO_SECOND));
	}
	exchange_done(x);
}

static bool
database_is_up(void)
{
	struct buf page = { 0 };
	const struct board_gauge *g;
	bool up = true;

	board_read(BOARD_GAUGES, &page);
	g = (const void *)page.data;
	for (size_t i = 0; i < page.len / sizeof(*g); i++)
		if (g[i].kind == GAUGE_DATABASE_UP)
			up = g[i].value > 0;
	buf_clear(&page);
	return up;
}

void
probe_ready(struct exchange *x, void *arg)
{
	static const char *const reasons[] = {
		[BOARD_STARTING] = "starting: the schema is not known to be current, "
		    "or a process has not reported yet",
		[BOARD_DRAINING] = "draining: no new jobs are taken",
		[BOARD_STOPPING] = "stopping",
	};
	enum board_state state = board_state();

	(void)arg;
	if (state == BOARD_READY && database_is_up()) {
		answer_health(x, "{\"status\":\"ready\"}\n");
		return;
	}
	exchange_problem(x, 503, "%s", state == BOARD_READY ?
	    "the database is away" : reasons[state]);
	exchange_done(x);
}
