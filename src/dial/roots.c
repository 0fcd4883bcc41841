/*
 * The system's certificate authorities. Where Go's crypto/x509 looks (root_linux.go): the file of $SSL_CERT_FILE, or
 * the first of the usual ones that can be read, and every file of the folders of $SSL_CERT_DIR, or of the usual ones.
 * Only bytes are read here: parsing some 140 certificates takes longer than a handshake, and one of them is needed.
 */
#include <dirent.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "base/str.h"
#include "base/strv.h"
#include "dial/dial.h"

#define ROOTS_MAX (32u * 1024 * 1024)

static const char *const usual_files[] = {
	"/etc/ssl/certs/ca-certificates.crt",
	"/etc/pki/tls/certs/ca-bundle.crt",
	"/etc/ssl/ca-bundle.pem",
	"/etc/pki/tls/cacert.pem",
	"/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
	"/etc/ssl/cert.pem",
};
static const char usual_folders[] = "/etc/ssl/certs:/etc/pki/tls/certs";

void roots_done(struct roots *r)
{
	strbuf_done(&r->pem);
}

/* What cannot be read is not there, as for Go. */
static bool add_file(struct roots *r, int dirfd, const char *name)
{
	auto_strbuf struct strbuf text = STRBUF_INIT;
	auto_error struct error err = ERROR_INIT;

	if (file_read_at(dirfd, name, ROOTS_MAX, &text, &err) < 0) {
		error_ignore(&err, "another place may hold the authorities");
		return false;
	}
	strbuf_append_len(&r->pem, text.data, text.len);
	strbuf_append_char(&r->pem, '\n');
	return true;
}

/* Links to another name in the same folder show the same certificate twice. */
static bool is_duplicate(int dirfd, const char *name)
{
	char target[256];
	ssize_t n = readlinkat(dirfd, name, target, sizeof(target));

	return n > 0 && !memchr(target, '/', (size_t)n);
}

static void add_folder(struct roots *r, const char *path)
{
	DIR *dir = opendir(path);
	struct dirent *entry;

	if (!dir)
		return;
	while ((entry = readdir(dir)) != NULL) {
		struct stat st;

		if (entry->d_name[0] == '.' || is_duplicate(dirfd(dir), entry->d_name))
			continue;
		if (fstatat(dirfd(dir), entry->d_name, &st, 0) == 0 && S_ISREG(st.st_mode))
			add_file(r, dirfd(dir), entry->d_name);
	}
	closedir(dir);
}

void roots_load_system(struct roots *r)
{
	const char *file = getenv("SSL_CERT_FILE");
	const char *folders = getenv("SSL_CERT_DIR");
	auto_strv struct strv list = STRV_INIT;

	r->pem.max = ROOTS_MAX;
	if (!str_is_empty(file)) {
		add_file(r, AT_FDCWD, file);
	} else {
		for (size_t i = 0; i < ARRAY_SIZE(usual_files); i++)
			if (add_file(r, AT_FDCWD, usual_files[i]))
				break;
	}
	strv_split(&list, str_is_empty(folders) ? usual_folders : folders, ':');
	for (size_t i = 0; i < list.len; i++)
		if (*list.items[i])
			add_folder(r, list.items[i]);
}
