/*
 * Which addresses the world outside has no business to lead us to. Pure.
 */
#ifndef DRIVER_NETADDR_H
#define DRIVER_NETADDR_H

#include <stdbool.h>
#include <sys/socket.h>

/*
 * Whether the address is anything but a public unicast address: loopback,
 * private, shared (CGNAT), link-local, unique local, multicast, unspecified, reserved,
 * for documentation; or an IPv6 form that carries such an IPv4 address (mapped,
 * NAT64, 6to4). Any other family is.
 */
bool netaddr_is_private(const struct sockaddr *);

#endif
