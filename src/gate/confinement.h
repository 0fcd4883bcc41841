/* The gate's confinement, and a test of it from inside. */
#pragma once

#include "base/error.h"

#define GATE_FILES 16384u /* limit of open files: about 5,400 connections */
#define GATE_MEMORY_MIB 1024u

/* Give up everything that the gate does not need. */
int gate_confine(struct error *err);
/*
 * Confine this process as the gate is, then try the call that @name means ("list" prints the names). The exit code: 0
 * an allowed piece of work went well; 1 a forbidden call went through; 3 it was refused; death by SIGSYS is refusal
 * too.
 */
int confinement_test(const char *name);
