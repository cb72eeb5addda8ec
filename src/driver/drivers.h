/*
 * Every driver there is, for the registry in driver.c alone.
 */
#ifndef DRIVER_DRIVERS_H
#define DRIVER_DRIVERS_H

#include "driver/driver.h"

extern const struct driver driver_email;
extern const struct driver driver_exec;
extern const struct driver driver_http;
extern const struct driver driver_noop;
extern const struct driver driver_report;
extern const struct driver driver_sql;
extern const struct driver driver_worker;

#endif
