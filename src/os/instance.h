/*
 * This running jobqd, told from any other that ran or runs under the same
 * node name: the same in all children of one master, another after a restart.
 */
#ifndef OS_INSTANCE_H
#define OS_INSTANCE_H

/* "HOST-PID-START" of the master, for a child of it; valid until the process ends. */
const char *instance_id(void);

#endif
