/* Logging in where the server says: the discharges for a macaroon of its, from whoever they must come from. */
#pragma once

#include <stdint.h>

#include "base/error.h"
#include "base/json.h"
#include "client/web.h"

#define DISCHARGE_NEVER INT64_MAX

struct discharge_result {
	char *text;         /* the macaroon and its discharges, as a cookie's value */
	int64_t expires_ns; /* the earliest of theirs; DISCHARGE_NEVER: none has an end */
};

#define DISCHARGE_RESULT_INIT ((struct discharge_result){0})
#define auto_discharge_result CLEANUP(discharge_result_done)
void discharge_result_done(struct discharge_result *d);

/*
 * @challenge: the macaroon of an answer "macaroon discharge required", with its payloads. The user may be asked things.
 * Each third party is asked for one discharge, and once more after it wanted to know who the user is.
 */
int discharge_all(const struct web *w, const struct json *challenge, const char *domain, struct discharge_result *ret,
		  struct error *err);
