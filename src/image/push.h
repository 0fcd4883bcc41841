/* Bringing an image to another server, which has given a secret for it. */
#pragma once

#include <stdbool.h>

#include "http/dial.h"
#include "image/image.h"

struct image_push_spec {
	struct images *images;
	const struct db_image *image;
	const struct dial_target *target;
	const char *secret;
	const char *project; /* on the target; NULL or "": default */
	bool (*cancelled)(void *arg);
	void *arg;
};

/* Upload and wait until the target has taken it in. Errors: what the target says; 503 not reachable. */
int image_push(const struct image_push_spec *spec, struct error *err);
