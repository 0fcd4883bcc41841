/* The inodes with several names that a walk has met, each with a number. For src/storage only. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

struct inodeset_slot;

struct inodeset {
	struct inodeset_slot *slots;
	uint64_t len, room;
};

#define INODESET_INIT ((struct inodeset){0})

void inodeset_done(struct inodeset *s);
/*
 * True when the inode of @stx was there already; else it is added. *@ret_number is its number, counted from 0. Compares
 * the time of birth too, so that a number that the file system gave out again is not taken for the old file.
 */
bool inodeset_add(struct inodeset *s, const struct statx *stx, uint64_t *ret_number);
