/*
 * What an error of a database means for the job that met it. Pure.
 */
#ifndef CORE_SQLSTATE_H
#define CORE_SQLSTATE_H

#include <stdbool.h>

#include "core/job.h"

/*
 * The class of a failure with this SQLSTATE:
 *   network      08, 57P01 to 57P05 (the server stops or starts), 25006 (it
 *                became a standby), and "" : the connection was lost
 *   timeout      57014
 *   auth         28, 42501
 *   resource     53
 *   validation   22, 23, 54, 44: the data is at fault
 *   error        all others
 */
enum job_class sqlstate_class(const char *sqlstate);

/* Nobody's fault: the same transaction may do at once (class 40, a lock that
 * was not to be waited for). */
bool sqlstate_is_passing(const char *sqlstate);

#endif
