/*
 * The work of an operation on one instance, with copies of everything that its thread needs. Shared by the files that
 * make such operations.
 */
#pragma once

#include "api/api.h"
#include "api/image_remote.h"
#include "api/migrate.h"

struct instance_action;

struct instance_job {
	struct api *api;
	struct identity id;
	char *project;
	char *name;
	struct instance *instance; /* reference, NULL for create */
	/* create, update */
	char *architecture;
	char *description;
	bool ephemeral;
	struct strmap config;
	struct mapmap devices;
	struct strv profiles;
	bool has_profiles;
	enum instance_source source;
	char *fingerprint;
	struct image_request remote; /* the image, when it is on another server */
	struct instance *original;
	char *snapshot;      /* of the original; NULL: the original itself */
	bool with_snapshots; /* and all of its snapshots */
	char *new_name;
	char *new_project; /* NULL: it stays */
	/* from or to another server */
	struct migration_session *migration;
	struct instance *begun; /* created as far as its name is taken */
	/* state */
	const struct instance_action *action; /* of api_instance_state.c */
	bool force;
	int64_t timeout_s;
};

/* A job of the caller; @i, if not NULL, gets another reference. */
struct instance_job *instance_job_new(struct api_call *c, const char *name, struct instance *i);
/* Takes a struct instance_job, as operations free their argument. */
void instance_job_free(void *arg);
/* Publish a lifecycle event on instance @name for who asked for the job. */
void instance_job_event(struct instance_job *j, const char *name, const char *action);
/*
 * Answer with an operation that runs @run on the job, which it takes. State changes name the instance only, others the
 * container too.
 */
void instance_job_start(struct api_call *c, struct instance_job *j, const char *description,
			int (*run)(struct operation *, void *, struct error *));
