/*
 * The report as a page of HTML: with charts of table cells, as mail programs
 * show them. Pure.
 */
#ifndef MONITOR_PAGE_H
#define MONITOR_PAGE_H

#include "base/buf.h"
#include "monitor/digest.h"

void page_make(struct buf *, const struct digest *, const char *subject);

#endif
