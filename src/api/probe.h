/*
 * What probes ask: is this jobqd alive, is it ready?
 */
#ifndef API_PROBE_H
#define API_PROBE_H

#include "api/server.h"

answer_fn probe_alive;		/* GET /healthz */
answer_fn probe_ready;		/* GET /readyz */

#endif
