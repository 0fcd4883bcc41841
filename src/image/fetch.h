/*
 * GET and HEAD of https addresses for the image store, through lxd-dial: proxies and redirects (to https only, few, and
 * never away from a server that was pinned), bounds, time limits, progress, cancelling.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/strbuf.h"
#include "http/client_parse.h"

struct fetch_hooks {
	bool (*cancelled)(void *arg); /* asked now and then; NULL: never */
	/* Text such as "rootfs: 45% (11.00MB/s)", at most a few times a second; NULL: nobody wants it. */
	void (*progress)(void *arg, const char *text);
	void *arg;
};

/* How servers are reached. Texts are borrowed and must outlive the fetch. */
struct fetch_spec {
	const char *proxy;       /* core.proxy_https; NULL or "": none */
	const char *no_proxy;    /* core.proxy_ignore_hosts */
	const char *certificate; /* PEM that the server must show; NULL or "": the system's authorities decide */
	struct fetch_hooks hooks;
};

struct fetch;

/* Errors: 400 the certificate is none. */
int fetch_new(const struct fetch_spec *spec, struct fetch **ret, struct error *err);
void fetch_free(struct fetch *f);
DEFINE_CLEANUP(struct fetch *, fetch_free)

/*
 * GET @url into @ret, of at most @max bytes. *@ret_status (NULL: anything but 200 is an error) is the HTTP status; the
 * body is there in any case. Errors: 400 URL; 503 not reachable; 504 stalled.
 */
int fetch_text(struct fetch *f, const char *url, size_t max, struct strbuf *ret, int *ret_status, struct error *err);
/* HEAD: the headers of a 200. */
int fetch_head(struct fetch *f, const char *url, const char *const *headers, struct strmap *ret, struct error *err);
/*
 * GET a file of @size bytes (0: not known before, @max counts) in pieces. @label begins the progress ("rootfs"). A body
 * of another length is an error; a 200 is required. @on_type (may be NULL) sees Content-Type ("" when absent) before.
 */
struct fetch_file {
	const char *label;
	uint64_t size;
	uint64_t max;
	int (*on_type)(void *arg, const char *content_type, struct error *err);
	http_data_fn fn;
	void *arg;
	bool inexact; /* the body holds more than the files: @size is for the progress, @max bounds */
};
int fetch_file(struct fetch *f, const char *url, const struct fetch_file *file, struct error *err);
/* The SHA-256 of the certificate in @pem, which is not parsed beyond its armour; 400 when there is none. */
int fetch_pin(const char *pem, char ret[65], struct error *err);
