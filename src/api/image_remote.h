/*
 * Images and other servers: fetching one (for POST /1.0/images, and for instances made from one), and the tokens by
 * which a stranger may read a private image or bring one.
 */
#pragma once

#include "api/api.h"
#include "image/source.h"

/* An image that shall be here. */
struct image_request {
	char *project;
	struct image_source source;
	char *filename; /* NULL: as the source calls it */
	bool is_public;
	bool auto_update;
	bool cached;              /* only for an instance: it may go when nobody uses it */
	struct strmap properties; /* override the image's */
	struct strv profiles;
	bool has_profiles;
	int64_t expires_ns;
	bool keep_source; /* remember where it came from */
	bool refresh;     /* an image that is here already stays as it is */
	struct strv aliases, alias_descriptions;
};

void image_request_done(struct image_request *q);

/*
 * Find the image and, unless it is here already, fetch it; progress goes into @op's metadata, which can be cancelled.
 * The fingerprint is in @ret as soon as it is known, also on failure.
 */
int image_obtain(struct api *api, struct operation *op, const struct image_request *q, struct image_result *ret,
		 struct error *err);
/* Does the image come from the very place that @q names? What a server says of others must not change them. */
bool image_came_from(const struct db_image *img, const struct image_request *q);
/* For operation_spec.cancel of operations that call image_obtain(). */
void image_obtain_cancel(struct operation *op, void *arg);
/* "fingerprint" and "size" (and what was left out) as the metadata of @op. */
void image_set_result(struct operation *op, const struct image_result *res);
/* The image that the path names by a beginning of its fingerprint, as a copy. Errors: 404, 400 several. */
int image_find(struct api_call *c, struct db_image *ret, struct error *err);
/* Are these profiles there that an image shall bring? 400 naming the one that is not. */
int image_check_profiles(struct api_call *c, const struct strv *profiles, struct error *err);
/* Fails when one of the names is taken by another image than @fingerprint (NULL: by any). */
int image_check_aliases(struct api *api, const struct image_request *q, const char *fingerprint, struct error *err);
int image_add_aliases(struct api *api, const struct image_request *q, const char *fingerprint, struct error *err);

/*
 * Make an image of the instance @name, or of its snapshot ("c1/snap"), in an operation; the content of @q is taken
 * over. @compression: NULL or "" is gzip. Errors: 400, 403, 404; of the operation also `Cannot export a running
 * instance as an image`.
 */
int image_publish(struct api_call *c, const char *name, const char *compression, struct image_request *q,
		  struct error *err);

/* POST /1.0/images with a JSON body. */
int image_post_json(struct api_call *c, struct error *err);

/* --- tokens --- */

enum image_token_kind { IMAGE_TOKEN_READ, IMAGE_TOKEN_PUSH };

struct image_tokens;

/* Those of a running daemon: none yet. */
struct image_tokens *image_tokens_new(void);
/* After all operations have gone. */
void image_tokens_free(struct image_tokens *t);
/*
 * A token for @fingerprint: an operation, not yet started, with the secret among its private members. It ends by its
 * first use, by being cancelled, after a day, or with the daemon. @q (may be NULL) says what an image that is pushed
 * becomes; its content is taken over. Errors: 400 too many.
 */
int image_token_new(struct api_call *c, enum image_token_kind kind, const char *fingerprint, struct image_request *q,
		    struct operation **ret, struct error *err);
/* Is there such a token? It is not used up. Constant time in the secret. */
bool image_token_fits(struct image_tokens *t, enum image_token_kind kind, const char *project, const char *fingerprint,
		      const char *secret);
/* Use it: true for one caller only. @ret (may be NULL) gets what image_token_new() was given; the caller's. */
bool image_token_use(struct image_tokens *t, enum image_token_kind kind, const char *project, const char *fingerprint,
		     const char *secret, struct image_request *ret);
