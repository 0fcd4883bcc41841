/* Runs a fuzz target over files or the files of folders, where there is no libFuzzer: fuzz_x PATH... */
#include <dirent.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "base/path.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static unsigned files_run;

static int run_file(const char *path)
{
	auto_strbuf struct strbuf text = STRBUF_INIT;
	auto_error struct error err = ERROR_INIT;

	if (file_read_at(AT_FDCWD, path, 16 << 20, &text, &err) < 0) {
		fprintf(stderr, "%s\n", err.msg);
		return 1;
	}
	LLVMFuzzerTestOneInput((const uint8_t *)strbuf_str(&text), text.len);
	files_run++;
	return 0;
}

static int run_path(const char *path)
{
	DIR *d = opendir(path);
	struct dirent *e;
	int r = 0;

	if (!d)
		return run_file(path);
	while ((e = readdir(d))) {
		auto_free char *sub = path_join(path, e->d_name);

		if (e->d_name[0] != '.')
			r |= run_file(sub);
	}
	closedir(d);
	return r;
}

int main(int argc, char **argv)
{
	int r = 0;

	for (int i = 1; i < argc; i++)
		r |= run_path(argv[i]);
	printf("%u inputs\n", files_run);
	return r || !files_run;
}
