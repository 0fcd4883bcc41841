/* The server's hardware as text. */
#pragma once

#include "base/json.h"

/* Print what GET /1.0/resources answered on standard output. */
void info_resources_print(const struct json *resources);
