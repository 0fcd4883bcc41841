/* Attaching to consoles, for `lxc console` and the commands with --console. */
#pragma once

#include <stddef.h>
#include <stdbool.h>

#include "base/error.h"

struct api;

/* The keys Ctrl+a q in what is typed, which may come in any pieces. */
struct console_keys {
	bool escape; /* the last byte was a Ctrl+a that has not been passed on */
};

/*
 * Take @n typed bytes and write those that are for the console to @out, which has room for @n + 1: all but Ctrl+a q,
 * and one of two Ctrl+a. Returns how many; *@ret_leave: Ctrl+a q was there, what follows it is dropped.
 */
size_t console_keys_filter(struct console_keys *k, const char *in, size_t n, char *out, bool *ret_leave);

/* Before anything is done: is there a terminal, and is @type, of an option, one that there is? Else 400. */
int console_check(const char *type, struct error *err);
/*
 * Attach this terminal to an instance's console until the user leaves it or it ends. @type: "console", or "vga", which
 * the server is asked for and this client cannot show.
 */
int console_attach(struct api *a, const char *instance, const char *type, struct error *err);
