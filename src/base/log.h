/*
 * Structured log lines: a constant sentence, then fields. To stderr, or to a file in append mode.
 *
 *	log_warn("image is missing", LOG_STR("fingerprint", fp), LOG_ERR(&err));
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

enum log_level { LOG_LEVEL_DEBUG, LOG_LEVEL_INFO, LOG_LEVEL_WARN, LOG_LEVEL_ERROR };

struct log_field {
	const char *key; /* NULL ends a list */
	const char *str; /* NULL: use num */
	int64_t num;
};

#define LOG_STR(k, v) ((struct log_field){.key = (k), .str = (v) ? (v) : ""})
#define LOG_INT(k, v) ((struct log_field){.key = (k), .num = (int64_t)(v)})
#define LOG_ERR(err) ((struct log_field){.key = "error", .str = error_msg(err)})

#define log_at(level, sentence, ...)                                                                           \
	do {                                                                                                   \
		if (log_enabled(level))                                                                        \
			log_write(level, sentence, (const struct log_field[]){__VA_ARGS__ __VA_OPT__(, ){0}}); \
	} while (0)
#define log_debug(sentence, ...) log_at(LOG_LEVEL_DEBUG, sentence __VA_OPT__(, ) __VA_ARGS__)
#define log_info(sentence, ...) log_at(LOG_LEVEL_INFO, sentence __VA_OPT__(, ) __VA_ARGS__)
#define log_warn(sentence, ...) log_at(LOG_LEVEL_WARN, sentence __VA_OPT__(, ) __VA_ARGS__)
#define log_error(sentence, ...) log_at(LOG_LEVEL_ERROR, sentence __VA_OPT__(, ) __VA_ARGS__)

/* Called with each line that is written, for the events API; NULL to stop. Set before threads start. */
typedef void (*log_sink_fn)(enum log_level level, const char *sentence, const struct log_field *fields);

/* Lowest level written; the default is warn. */
void log_set_level(enum log_level level);
/* Append to @path (made 0600) instead of stderr. */
int log_set_file(const char *path, struct error *err);
void log_set_sink(log_sink_fn sink);
bool log_enabled(enum log_level level);
const char *log_level_name(enum log_level level); /* debug, info, warning, error */
void log_write(enum log_level level, const char *sentence, const struct log_field *fields);
