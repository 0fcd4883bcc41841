/* Host entries: one file per NIC below dnsmasq.hosts, which dnsmasq reads again when told. */
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "base/path.h"
#include "base/str.h"
#include "network/dnsmasq_internal.h"

#define ENTRY_MAX 4096

void dnsmasq_host_done(struct dnsmasq_host *h)
{
	free(h->label);
	free(h->hostname);
	*h = (struct dnsmasq_host){0};
}

/* --- names of files --- */

/* Where the device begins in a label; its end when there is none. */
static size_t device_at(const char *label)
{
	const char *dot = strchr(label, '.');

	return dot ? (size_t)(dot - label) + 1 : strlen(label);
}

char *dnsmasq_host_file(const char *label)
{
	struct strbuf out = STRBUF_INIT;
	size_t n = device_at(label);

	strbuf_append_len(&out, label, n);
	for (const char *p = label + n; *p; p++) {
		if (*p == '-')
			strbuf_append(&out, "--");
		else
			strbuf_append_char(&out, *p == '/' ? '-' : *p);
	}
	return strbuf_take(&out);
}

char *dnsmasq_host_label(const char *file)
{
	struct strbuf out = STRBUF_INIT;
	size_t n = device_at(file);

	strbuf_append_len(&out, file, n);
	for (const char *p = file + n; *p; p++) {
		bool doubled = p[0] == '-' && p[1] == '-';

		strbuf_append_char(&out, *p == '-' && !doubled ? '/' : *p);
		p += doubled;
	}
	return strbuf_take(&out);
}

/* --- their line --- */

char *dnsmasq_host_line(const struct dnsmasq_host *h)
{
	struct strbuf out = STRBUF_INIT;
	char mac[MAC_TEXT_MAX], text[IP_TEXT_MAX];

	if (!h->v4.family && !h->v6.family && !h->hostname)
		return NULL;
	strbuf_append(&out, mac_format(&h->mac, mac));
	if (h->v4.family)
		strbuf_appendf(&out, ",%s", ip_format(&h->v4, text));
	if (h->v6.family)
		strbuf_appendf(&out, ",[%s]", ip_format(&h->v6, text));
	if (h->hostname)
		strbuf_appendf(&out, ",%s", h->hostname);
	return strbuf_take(&out);
}

static bool parse_field(char *field, struct dnsmasq_host *h)
{
	size_t n = strlen(field);

	if (field[0] == '[' && field[n - 1] == ']') {
		field[n - 1] = '\0';
		return !h->v6.family && ip_parse(AF_INET6, field + 1, &h->v6);
	}
	if (!h->v4.family && ip_parse(AF_INET, field, &h->v4))
		return true;
	if (h->hostname || !*field)
		return false;
	h->hostname = xstrdup(field);
	return true;
}

bool dnsmasq_host_parse(const char *line, struct dnsmasq_host *ret)
{
	auto_strv struct strv fields = STRV_INIT;
	CLEANUP(dnsmasq_host_done) struct dnsmasq_host h = {0};

	strv_split(&fields, line, ',');
	if (fields.len < 2 || !mac_parse(fields.items[0], &h.mac))
		return false;
	for (size_t i = 1; i < fields.len; i++)
		if (!parse_field(fields.items[i], &h))
			return false;
	*ret = h;
	h = (struct dnsmasq_host){0};
	return true;
}

/* --- files --- */

int dnsmasq_file_put(const char *dir, const char *name, const char *text, struct error *err)
{
	auto_free char *path = path_join(dir, name);
	auto_free char *file = xasprintf(".%s.%d", name, (int)gettid()); /* dnsmasq does not read those with a dot */
	auto_free char *tmp = path_join(dir, file);
	auto_close int fd = open(tmp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0644);
	int r;

	if (fd < 0)
		return error_errno(err, errno, "Create %s", tmp);
	r = fchmod(fd, 0644) < 0 ? -errno : fd_write_full(fd, text, strlen(text));
	if (r == 0 && rename(tmp, path) < 0)
		r = -errno;
	if (r == 0)
		return 0;
	(void)unlink(tmp);
	return error_errno(err, -r, "Write %s", path);
}

/* Is @line what the file holds already? */
static bool holds(const char *dir, const char *file, const char *line)
{
	auto_free char *path = path_join(dir, file);
	auto_strbuf struct strbuf b = STRBUF_INIT;
	auto_error struct error err = ERROR_INIT;

	if (file_read_at(AT_FDCWD, path, ENTRY_MAX, &b, &err) < 0) {
		error_ignore(&err, "it is written");
		return false;
	}
	return streq(strbuf_str(&b), line);
}

static int remove_file(struct dnsmasq *d, const char *file, bool *ret_changed, struct error *err)
{
	auto_free char *path = path_join(d->hosts, file);

	if (unlink(path) < 0)
		return errno == ENOENT ? 0 : error_errno(err, errno, "Remove %s", path);
	*ret_changed = true;
	return 0;
}

static int write_file(struct dnsmasq *d, const char *file, const char *line, bool *ret_changed, struct error *err)
{
	auto_free char *text = xasprintf("%s\n", line);
	int r;

	if (holds(d->hosts, file, text))
		return 0;
	r = dnsmasq_file_put(d->hosts, file, text, err);
	if (r == -ENOENT) {
		error_clear(err);
		r = dir_make_all(AT_FDCWD, d->hosts, 0755, err);
		if (r == 0)
			r = dnsmasq_file_put(d->hosts, file, text, err);
	}
	*ret_changed = r == 0;
	return r;
}

static bool read_entry(struct dnsmasq *d, const char *file, struct dnsmasq_host *ret)
{
	auto_free char *path = path_join(d->hosts, file);
	auto_strbuf struct strbuf b = STRBUF_INIT;
	auto_error struct error err = ERROR_INIT;

	if (file_read_at(AT_FDCWD, path, ENTRY_MAX, &b, &err) < 0) {
		error_ignore(&err, "no entry");
		return false;
	}
	if (!b.data || !dnsmasq_host_parse(str_strip(b.data), ret))
		return false;
	ret->label = dnsmasq_host_label(file);
	return true;
}

/* --- all of them, in memory: with many NICs the files take long to read --- */

static void forget_all(struct dnsmasq *d) REQUIRES(d->hosts_lock)
{
	for (size_t i = 0; i < d->n_entries; i++)
		dnsmasq_host_done(&d->entries[i]);
	free(TAKE_PTR(d->entries));
	d->n_entries = 0;
	d->entries_loaded = false;
}

void dnsmasq_hosts_forget(struct dnsmasq *d)
{
	mutex_lock(&d->hosts_lock);
	forget_all(d);
	mutex_unlock(&d->hosts_lock);
}

static void copy_entry(struct dnsmasq_host *to, const struct dnsmasq_host *from)
{
	*to = *from;
	to->label = xstrdup(from->label);
	to->hostname = xstrdup_null(from->hostname);
}

static void append(struct dnsmasq *d, const struct dnsmasq_host *h) REQUIRES(d->hosts_lock)
{
	d->entries = xreallocarray(d->entries, d->n_entries + 1, sizeof(*d->entries));
	copy_entry(&d->entries[d->n_entries++], h);
}

/* The entry of @label is @h now, or there is none (NULL). */
static void note(struct dnsmasq *d, const char *label, const struct dnsmasq_host *h) REQUIRES(d->hosts_lock)
{
	for (size_t i = 0; i < d->n_entries; i++) {
		if (!streq(d->entries[i].label, label))
			continue;
		dnsmasq_host_done(&d->entries[i]);
		d->entries[i] = d->entries[--d->n_entries];
		break;
	}
	if (h && d->entries_loaded)
		append(d, h);
}

static int load(struct dnsmasq *d, struct error *err) REQUIRES(d->hosts_lock)
{
	DIR *dir = opendir(d->hosts);
	struct dirent *e;

	if (!dir && errno != ENOENT)
		return error_errno(err, errno, "Read %s", d->hosts);
	while (dir && (e = readdir(dir))) {
		CLEANUP(dnsmasq_host_done) struct dnsmasq_host h = {0};

		if (e->d_name[0] != '.' && read_entry(d, e->d_name, &h))
			append(d, &h);
	}
	if (dir)
		closedir(dir);
	d->entries_loaded = true;
	return 0;
}

int dnsmasq_hosts(struct dnsmasq *d, struct dnsmasq_host **ret, size_t *ret_n, struct error *err)
{
	int r = 0;

	mutex_lock(&d->hosts_lock);
	if (!d->entries_loaded)
		r = load(d, err);
	if (r == 0) {
		*ret_n = d->n_entries;
		*ret = xnew_array(struct dnsmasq_host, d->n_entries + 1);
		for (size_t i = 0; i < d->n_entries; i++)
			copy_entry(&(*ret)[i], &d->entries[i]);
	}
	mutex_unlock(&d->hosts_lock);
	return r;
}

/* --- changes --- */

static int write_entry(struct dnsmasq *d, const char *file, const struct dnsmasq_host *h, bool *ret_changed,
		       struct error *err)
{
	auto_free char *line = dnsmasq_host_line(h);
	int r;

	mutex_lock(&d->hosts_lock);
	r = line ? write_file(d, file, line, ret_changed, err) : remove_file(d, file, ret_changed, err);
	if (r == 0)
		note(d, h->label, line ? h : NULL);
	mutex_unlock(&d->hosts_lock);
	return r;
}

static int remove_entry(struct dnsmasq *d, const char *file, const char *label, bool *ret_changed, struct error *err)
{
	int r;

	mutex_lock(&d->hosts_lock);
	r = remove_file(d, file, ret_changed, err);
	if (r == 0)
		note(d, label, NULL);
	mutex_unlock(&d->hosts_lock);
	return r;
}

int dnsmasq_host_set(struct dnsmasq *d, const struct dnsmasq_host *h, struct error *err)
{
	auto_free char *file = dnsmasq_host_file(h->label);
	bool changed = false;
	int r = write_entry(d, file, h, &changed, err);

	if (changed)
		dnsmasq_reload(d);
	return r;
}

int dnsmasq_host_get(struct dnsmasq *d, const char *label, struct dnsmasq_host *ret)
{
	auto_free char *file = dnsmasq_host_file(label);

	return read_entry(d, file, ret);
}

void dnsmasq_hold_hosts(struct dnsmasq *d) TSA(acquire_capability(d->choosing))
{
	mutex_lock(&d->choosing);
}

void dnsmasq_release_hosts(struct dnsmasq *d) TSA(release_capability(d->choosing))
{
	mutex_unlock(&d->choosing);
}

int dnsmasq_host_remove(struct dnsmasq *d, const char *label, struct error *err)
{
	CLEANUP(dnsmasq_host_done) struct dnsmasq_host h = {0};
	auto_free char *file = dnsmasq_host_file(label);
	bool known = read_entry(d, file, &h), changed = false;
	int r = remove_entry(d, file, label, &changed, err);

	if (r < 0 || !changed)
		return r;
	dnsmasq_reload(d);
	if (known)
		dnsmasq_release(d, &h.mac, h.hostname, NULL, 0);
	return 0;
}

int dnsmasq_hosts_keep(struct dnsmasq *d, const struct strv *labels, struct error *err)
{
	DIR *dir;
	struct dirent *e;
	bool changed = false;
	int r = 0;

	dnsmasq_hosts_forget(d); /* others may have touched the files */
	dir = opendir(d->hosts);
	if (!dir)
		return errno == ENOENT ? 0 : error_errno(err, errno, "Read %s", d->hosts);
	while (r == 0 && (e = readdir(dir))) {
		auto_free char *label = dnsmasq_host_label(e->d_name);

		if (e->d_name[0] != '.' && !strv_contains(labels, label))
			r = remove_entry(d, e->d_name, label, &changed, err);
	}
	closedir(dir);
	if (changed)
		dnsmasq_reload(d);
	return r;
}
