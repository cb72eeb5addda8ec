/*
 * The dashboard: one page, built in, that asks for everything by the API. It
 * needs no token itself; it has a form for one.
 */
#ifndef API_UI_H
#define API_UI_H

#include "api/server.h"

answer_fn ui_page;

#endif
