/*
 * jobqctl worker: the processes that run jobs, on all nodes.
 */
#include "config.h"

#include "ctl/ctl.h"

#define OF_QUEUE "FROM jobq.workers w WHERE $1::text IS NULL OR queue = $1 " \
    "ORDER BY node, queue, length(worker), worker"

int
worker_list(struct ctl *ctl, const struct args *a)
{
	const char *queue = args_get(a, "queue");
	const char *params[] = { queue };
	PGresult *res = ctl_query(ctl, ctl->json ?
	    "SELECT row_to_json(w) " OF_QUEUE :
	    "SELECT node, worker, pid, state, job_id, "
	    SQL_TIME("since") " AS since, jobs, rss_kb " OF_QUEUE, 1, params);
	int status = CTL_DONE;

	if (res != NULL && PQntuples(res) == 0 && queue != NULL)
		status = ctl_find_queue(ctl, queue);
	if (status == CTL_DONE)
		return ctl_list(ctl, res, "no workers");
	PQclear(res);
	return status;
}
