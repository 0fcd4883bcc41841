/*
 * An API object that a command changes: read with its ETag, changed in memory, sent back whole. Fields that the
 * command does not touch go back as they came.
 */
#pragma once

#include <stdbool.h>

#include "base/error.h"
#include "base/json.h"
#include "base/strmap.h"
#include "base/strv.h"
#include "client/client.h"

/* What of an entity is writable, and how its lists are called. */
struct doc_kind {
	const char *noun;          /* "instance" */
	const char *const *fields; /* writable members in the order they are shown, NULL-terminated */
	const char *const *typed;  /* members whose YAML scalars are no text, NULL-terminated; may be NULL */
	const char *config_field;  /* "config" or "properties" */
};

extern const struct doc_kind doc_instance, doc_snapshot, doc_profile, doc_storage_pool, doc_image, doc_server,
	doc_certificate, doc_network, doc_project;

struct doc {
	const struct doc_kind *kind;
	struct api *api; /* borrowed */
	char *url;
	char *etag;
	struct json *object;
	struct strmap config;
	struct mapmap devices;
	struct strv profiles;
	bool config_changed, devices_changed, profiles_changed;
};

#define DOC_INIT ((struct doc){0})
#define auto_doc CLEANUP(doc_done)
void doc_done(struct doc *d);
/* GET @url (copied). */
int doc_load(struct api *a, const char *url, const struct doc_kind *kind, struct doc *ret, struct error *err);
/* Of an object that is at hand (taken), to be looked at only. */
int doc_take(struct json *object, const struct doc_kind *kind, struct doc *ret, struct error *err);
/* PUT it back with If-Match, and wait for the operation if there is one. */
int doc_save(struct cli *c, struct doc *d, struct error *err);
/* Change config or devices; remembered for doc_save(). A NULL value removes. */
void doc_set_config(struct doc *d, const char *key, const char *value);
/* The writable fields as JSON text; the caller frees. */
char *doc_body(const struct doc *d);
/*
 * `edit`: standard input, or an editor. @comment (lines of text without "#", may be NULL) heads the file in the editor.
 */
int doc_edit(struct cli *c, struct doc *d, const char *comment, struct error *err);
/* Print the writable fields as YAML. */
int doc_show(const struct doc *d, struct error *err);

/*
 * "k=v" arguments from @first on, or two arguments "k v" (@legacy). A value "-" reads standard input.
 * 400 for an argument without "=".
 */
int args_to_map(struct cli *c, size_t first, bool legacy, struct strmap *ret, struct error *err);
/*
 * "k=v" arguments from @first on, values as they are. For one without "=" the error (400) is the argument between the
 * two halves of @complaint.
 */
int args_to_pairs(struct cli *c, size_t first, const char *const complaint[2], struct strmap *ret, struct error *err);
/* The user's editor on @file, until it ends. 404: there is none. */
int cli_run_editor(const char *file, struct error *err);
