/*
 * All routes: the table of each part.
 */
#include "config.h"

#include "api/hook.h"
#include "api/pull.h"
#include "api/route.h"

const struct route *const route_tables[] = { api_routes, jobs_routes, queues_routes,
    dead_routes, schedules_routes, watch_routes, pull_routes, hook_routes, NULL };
