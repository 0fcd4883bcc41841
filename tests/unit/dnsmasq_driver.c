/*
 * A dnsmasq of a network as lines of commands, for tests against the real program: `dnsmasq-driver DIR NET`, then
 * "apply ipv4.address=192.0.2.1/24 ..." and so on by stdin. Each answer is one line: "ok ..." or "error ...".
 */
#include <stdio.h>

#include "base/alloc.h"
#include "base/strbuf.h"
#include "base/str.h"
#include "network/dnsmasq.h"

typedef int (*command_fn)(struct dnsmasq *d, const struct strv *words, struct strbuf *out, struct error *err);

static int apply(struct dnsmasq *d, const struct strv *words, struct strbuf *out UNUSED, struct error *err)
{
	auto_strmap struct strmap config = STRMAP_INIT;

	for (size_t i = 1; i < words->len; i++) {
		char *eq = strchr(words->items[i], '=');

		if (!eq)
			return error_set(err, 400, "no value: %s", words->items[i]);
		*eq = '\0';
		strmap_set(&config, words->items[i], eq + 1);
	}
	return dnsmasq_apply(d, &config, err);
}

static int stop(struct dnsmasq *d, const struct strv *words UNUSED, struct strbuf *out UNUSED, struct error *err UNUSED)
{
	dnsmasq_stop(d);
	return 0;
}

static int pid(struct dnsmasq *d, const struct strv *words UNUSED, struct strbuf *out, struct error *err UNUSED)
{
	strbuf_appendf(out, "%d", (int)dnsmasq_pid(d));
	return 0;
}

/* host LABEL MAC V4|- NAME|- */
static int host(struct dnsmasq *d, const struct strv *words, struct strbuf *out UNUSED, struct error *err)
{
	char **w = words->items;
	struct dnsmasq_host h = {.label = w[1], .hostname = streq(w[4], "-") ? NULL : w[4]};

	if (!mac_parse(w[2], &h.mac) || (!streq(w[3], "-") && !ip_parse(AF_INET, w[3], &h.v4)))
		return error_set(err, 400, "bad words");
	return dnsmasq_host_set(d, &h, err);
}

static int unhost(struct dnsmasq *d, const struct strv *words, struct strbuf *out UNUSED, struct error *err)
{
	return dnsmasq_host_remove(d, words->items[1], err);
}

/* release MAC NAME */
static int release(struct dnsmasq *d, const struct strv *words, struct strbuf *out UNUSED, struct error *err)
{
	struct mac_addr mac;

	if (!mac_parse(words->items[1], &mac))
		return error_set(err, 400, "bad words");
	dnsmasq_release(d, &mac, words->items[2], NULL, 0);
	return 0;
}

static int leases(struct dnsmasq *d, const struct strv *words UNUSED, struct strbuf *out, struct error *err)
{
	struct dnsmasq_lease *list = NULL;
	size_t n = 0;
	int r = dnsmasq_leases(d, &list, &n, err);

	for (size_t i = 0; i < n; i++) {
		char text[IP_TEXT_MAX];

		strbuf_appendf(out, "%s%s", i ? " " : "", ip_format(&list[i].address, text));
		dnsmasq_lease_done(&list[i]);
	}
	free(list);
	return r;
}

static const struct {
	const char *name;
	size_t words;
	command_fn run;
} commands[] = {
	{"apply", 1, apply},   {"stop", 1, stop},       {"pid", 1, pid},       {"host", 5, host},
	{"unhost", 2, unhost}, {"release", 3, release}, {"leases", 1, leases},
};

static void answer(struct dnsmasq *d, const struct strv *words)
{
	auto_strbuf struct strbuf out = STRBUF_INIT;
	auto_error struct error err = ERROR_INIT;
	int r = -EINVAL;

	for (size_t i = 0; i < ARRAY_SIZE(commands); i++)
		if (words->len >= commands[i].words && streq(words->items[0], commands[i].name))
			r = commands[i].run(d, words, &out, &err);
	if (r < 0)
		printf("error %s\n", error_msg(&err));
	else
		printf("ok %s\n", strbuf_str(&out));
	fflush(stdout);
}

static void warn(void *arg UNUSED, const char *type UNUSED, const char *severity UNUSED, const char *entity,
		 const char *message)
{
	fprintf(stderr, "warning %s: %s\n", entity, message ? message : "is over");
}

int main(int argc, char **argv)
{
	auto_error struct error err = ERROR_INIT;
	struct dnsmasq_spec spec = {.dir = argv[1], .logs = argv[1], .warn = warn};
	struct dnsmasq *d;
	char line[4096];

	if (argc != 3 || loop_new(&spec.loop, &err) < 0 || loop_start(spec.loop, &err) < 0)
		return 2;
	d = dnsmasq_new(&spec, argv[2]);
	while (fgets(line, sizeof(line), stdin)) {
		auto_strv struct strv words = STRV_INIT;

		strv_split_words(&words, line);
		if (words.len)
			answer(d, &words);
	}
	dnsmasq_free(d);
	loop_free(spec.loop);
	return 0;
}
