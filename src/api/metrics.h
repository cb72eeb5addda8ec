/*
 * The text of GET /metrics: what the board has, in the form of Prometheus
 * (0.0.4) or of OpenMetrics (1.0). No statement is sent for it.
 */
#ifndef API_METRICS_H
#define API_METRICS_H

#include <stdbool.h>

#include "base/buf.h"

void metrics_text(struct buf *, bool openmetrics, const char *node);
/* Its media type. */
const char *metrics_type(bool openmetrics);

#endif
