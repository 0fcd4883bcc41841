/* Questions to the user: the text on standard output, the answer a line of standard input. */
#pragma once

#include "base/error.h"

/*
 * Print @text and read one line, without its end; nothing behind the line is taken from standard input, so that the
 * answers of several questions can come through one pipe. "EOF" when there is none. The caller frees.
 */
int prompt_line(const char *text, char **ret, struct error *err);
/* The same for a secret: a terminal does not show it. The caller wipes and frees. */
int prompt_secret(const char *text, char **ret, struct error *err);
