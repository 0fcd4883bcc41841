/* Printing helpers of the framework that only tables and main() need. */
#pragma once

/* @text with control characters as \x1b and \u009b, except those in @keep; the caller frees. */
char *print_safe_text(const char *text, const char *keep);
/* @text with "***" for the values of JSON members that are secrets ("password", "secret" ...); the caller frees. */
char *print_hide_secrets(const char *text);
/* JSON text and a newline on standard output; DEL and C1 controls as escapes. */
void print_json(const char *json);
