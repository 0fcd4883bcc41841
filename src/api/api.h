/*
 * What every resource file of the API shares: the call (a request on its way through a handler), the answers, and the
 * route tables. A route is a row; a row without a permission stops the daemon from starting.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "api/events.h"
#include "api/operation.h"
#include "api/token.h"
#include "api/warnings.h"
#include "auth/audit.h"
#include "auth/authorize.h"
#include "auth/password.h"
#include "auth/trust.h"
#include "base/json.h"
#include "base/jsonw.h"
#include "candid/candid.h"
#include "db/store.h"
#include "firewall/firewall.h"
#include "http/server.h"
#include "image/image.h"
#include "instance/instance.h"
#include "network/network.h"
#include "rbac/rbac.h"
#include "remote/remote.h"

/* Everything that handlers work with; lives as long as the daemon. */
struct api {
	const char *lxd_dir;
	const char *version;
	struct loop *loop;
	struct store *store;
	struct images *images;
	struct instances *instances;
	struct events *events;
	struct operations *operations;
	struct image_tokens *image_tokens;
	struct trust *trust;
	struct tokens *tokens;
	struct password_guard *password_guard;
	struct loop_timer *password_timer; /* of trust_password.c; loop's thread */
	_Atomic int64_t password_unset_ns; /* 0: it stays */
	struct candid *candid;             /* NULL in unit tests alone */
	struct rbac *rbac;                 /* the same */
	struct audit *audit;               /* the same */
	struct warnings *warnings;         /* the same */
	struct networks *networks;         /* the same */
	struct remote *remote;             /* NULL in unit tests alone */
	struct firewall *firewall;         /* NULL in unit tests alone */
	struct mutex config_lock; /* one change of the server's configuration at a time; held across sockets and disk */
	/* GET /1.0 as a trusted client gets it, made anew when the store has changed */
	struct mutex server_lock;
	char *certificate_pem GUARDED_BY(server_lock);            /* server.crt */
	char certificate_fingerprint[65] GUARDED_BY(server_lock); /* of its first certificate */
	char *server_json GUARDED_BY(server_lock);
	size_t server_json_len GUARDED_BY(server_lock);
	char server_etag[65] GUARDED_BY(server_lock);
	unsigned server_generation GUARDED_BY(server_lock);
	int64_t server_made_ms GUARDED_BY(server_lock);
	bool ready; /* start-up is complete */
	bool boot;  /* see instances_autostart() */
	int64_t started_ms;
	_Atomic bool shutting_down;
	/* PUT /internal/shutdown: end the daemon; set by main() */
	void (*shutdown)(void *arg, bool force);
	void *shutdown_arg;
};

#define API_PARAMS_MAX 4

struct api_route;

struct api_call {
	struct api *api;
	struct http_request *req;
	struct http_response *resp;
	const struct api_route *route;
	char *params[API_PARAMS_MAX]; /* the {..} parts of the path, decoded */
	const char *prefix;           /* "instances", or its alias "containers", as the path had it */
	struct identity id;
	struct identity owner; /* of a websocket that is opened by a secret: who made the operation */
	const char *project;   /* of the query; checked to exist. What the caller may do is judged by it */
	const char *home;      /* where the objects of this route are that @project has: itself or "default" */
	struct json *body;     /* parsed on first use by api_body() */
	void *upload;          /* of routes with begin */
	bool needs_login;      /* a stranger who can become somebody by a macaroon */
	char *challenge;       /* the body of the 401 that says so */
};

typedef int (*api_handler)(struct api_call *c, struct error *err);

enum api_route_flags {
	API_WHILE_STOPPING = 1 << 0, /* also served while the daemon shuts down */
	API_ANY_PROJECT = 1 << 1,    /* an unknown project gives an empty list, not 404 */
};

struct api_route {
	const char *path; /* "/1.0/instances/{name}" */
	enum http_method method;
	enum permission perm;
	unsigned flags;
	enum project_feature feature; /* that decides in which project the objects are */
	api_handler handler;
	/* For bodies that are not kept in memory: set req->sink and c->upload by the headers. NULL: JSON only. */
	int (*begin)(struct api_call *c, struct error *err);
	void (*upload_free)(void *upload);
	const struct json_field *body; /* what the handler decodes, for the reference; NULL: none */
	const char *doc;
};

/* Tables, one per resource file, each ended by a row without path. */
extern const struct api_route api_server_routes[];
extern const struct api_route api_network_routes[];
extern const struct api_route api_operation_routes[];
extern const struct api_route api_certificate_routes[];
extern const struct api_route api_instance_routes[];
extern const struct api_route api_state_routes[];
extern const struct api_route api_exec_routes[];
extern const struct api_route api_console_routes[];
extern const struct api_route api_log_routes[];
extern const struct api_route api_file_routes[];
extern const struct api_route api_image_routes[];
extern const struct api_route api_image_remote_routes[];
extern const struct api_route api_profile_routes[];
extern const struct api_route api_storage_routes[];
extern const struct api_route api_project_routes[];
extern const struct api_route api_resources_routes[];
extern const struct api_route api_internal_routes[];
extern const struct api_route api_warning_routes[];
extern const struct api_route api_audit_routes[];
extern const struct api_route api_metrics_routes[];
extern const struct api_route api_auth_routes[];
extern const struct api_route api_snapshot_routes[];

/* All tables, ended by NULL; for the router, the reference and tests. */
extern const struct api_route *const api_route_tables[];

/* Check the tables (permission, handler, doc); called once at start. */
int api_routes_check(struct error *err);
/* The callbacks for http_server_start(). */
struct http_handlers api_http_handlers(struct api *api);

/*
 * The caller is no stranger, or has shown a secret: its connection no longer falls under the limits for strangers. For
 * handlers of PERM_ANYONE routes; the router does it for all whom it knows.
 */
void api_vouch(struct api_call *c);

/* The parsed JSON body; an error (400) when it is empty or malformed. Borrowed. */
int api_body(struct api_call *c, const struct json **ret, struct error *err);
/* Decode the body by the table; @dst is to be cleaned with json_decode_done(). */
int api_decode(struct api_call *c, const struct json_field *fields, void *dst, uint64_t *ret_given, struct error *err);
/* ?recursion= as a number, 0 when absent or not one. */
unsigned api_recursion(struct api_call *c);
/* Compare If-Match, if sent, with the current tag: 412 when they differ. */
int api_check_etag(struct api_call *c, const char *etag, struct error *err);
/* Tag of a JSON text. Writes 64 hex digits. */
void api_etag(const char *json, size_t len, char etag[65]);

/* operation_new() for the caller, who may cancel it, as may whoever could have asked for it. */
struct operation *api_operation_new(struct api_call *c, const struct operation_spec *spec);

/* Answers. @metadata is JSON text and taken. */
void api_sync(struct api_call *c, struct strbuf *metadata);
/* The same without a copy, for large answers: what is appended between the two is the metadata. */
struct strbuf *api_sync_begin(struct api_call *c);
void api_sync_end(struct api_call *c);
void api_sync_etag(struct api_call *c, struct strbuf *metadata, const char *etag);
void api_empty(struct api_call *c);                         /* 200 with {} */
void api_created(struct api_call *c, const char *location); /* 201 */
/* Start the operation and answer 202; takes the caller's reference. */
void api_async(struct api_call *c, struct operation *op);
/* A file as it is; takes @fd. */
void api_file(struct api_call *c, int fd, const char *content_type, const char *filename);

/* The server's certificate is another now; both are copied. */
void api_set_certificate(struct api *api, const char *pem, const char *fingerprint);
/* Its fingerprint, 64 hex digits. */
void api_certificate_fingerprint(struct api *api, char ret[65]);
/* GET /1.0 would answer something else now for a reason outside the store. */
void api_server_changed(struct api *api);
/*
 * Write to the audit log what the caller may do, before it is done; a failure means that it must not be. The second
 * form is for what has failed or was refused anyhow: a failure to write is logged.
 */
int api_audit(struct api_call *c, const char *event, const char *verdict, const char *detail, struct error *err);
void api_audit_note(struct api_call *c, const char *event, const char *verdict, const char *detail);

/*
 * May the caller do @perm in @project, and is it there? Whether it is there is told only to those who may: 403, or 404.
 * For projects that a body names; the router does it for that of the query.
 */
int api_check_project(struct api_call *c, enum permission perm, const char *project, struct error *err);
/* Append the URL of an object of @project: /1.0/KIND/NAME, with ?project= outside the default project. */
void api_add_url(struct strv *urls, const char *project, const char *kind, const char *name);
/* Leave out of a list of such URLs what is in projects that the caller may not view: for used_by. */
void api_drop_unseen(const struct api_call *c, struct strv *urls);
/* Publish a lifecycle event of this caller. @source is a URL without query. */
void api_lifecycle(struct api_call *c, const char *action, const char *source);
/* The same with more about it. */
void api_lifecycle_context(struct api_call *c, const char *action, const char *source, const struct strmap *context);
/* The same with what outlives the call (operations). */
void api_lifecycle_as(struct api *api, const char *project, const struct identity *id, const char *action,
		      const char *source);
