/*
 * What the driver exec runs for a job: arguments and environment, from the
 * handler's options and the job; and what the driver worker runs for many jobs,
 * "fixed", from the options alone. Nothing of it is read by a shell. Pure, but
 * for the daemon's own environment, of which a little is passed on.
 */
#ifndef DRIVER_COMMAND_H
#define DRIVER_COMMAND_H

#include "driver/driver.h"
#include "driver/strings.h"

/* Complain of what is wrong with the options of exec; fixed: with argv, env and
 * directory. */
void command_check(const struct node *options, struct conf_sink *);
void command_check_fixed(const struct node *options, struct conf_sink *);

/*
 * Append the arguments, the program first, and the environment. -1 with e:
 * what the job's data lacks or has too much of (class validation).
 */
int command_make(const struct run *, struct strings *argv, struct strings *env,
    struct err *e);
int command_make_fixed(const struct driver_ctx *, struct strings *argv,
    struct strings *env, struct err *e);

#endif
