#include "migration/migration.h"

#include "migration/message.h"

#define HEADER_MS 30000
#define VERDICT_MS 1800000 /* the sink may have much to write out before it can promise anything */

void migration_answer(struct migration_link *l, const char *reason)
{
	auto_strbuf struct strbuf message = STRBUF_INIT;

	migration_verdict_encode(reason, &message);
	migration_link_send(l, &message);
}

static unsigned features_offered(bool compress)
{
	return MIGRATION_XATTRS | MIGRATION_BIDIRECTIONAL | MIGRATION_HARDLINKS | MIGRATION_ACLS |
	       (compress ? MIGRATION_COMPRESS : 0U);
}

static void send_header(struct migration_link *l, const struct migration_header *h)
{
	auto_strbuf struct strbuf message = STRBUF_INIT;

	migration_header_encode(h, &message);
	migration_link_send(l, &message);
}

/* The peer's header, or its reason for not sending one. */
static int recv_header(struct migration_link *l, struct migration_header *ret, struct error *err)
{
	auto_strbuf struct strbuf message = STRBUF_INIT;
	int r = migration_link_recv(l, HEADER_MS, &message, err);

	if (r < 0)
		return r;
	if (migration_is_verdict(message.data, message.len)) {
		r = migration_verdict_decode(message.data, message.len, err);
		return r < 0 ? error_wrap(err, "The other server failed")
			     : error_set(err, 400, "The other server ends the migration before it has begun");
	}
	return migration_header_decode(strbuf_str(&message), message.len, ret, err);
}

/* What both want, of what may be asked for. The rest of LXD's list needs rights that our rsync has not. */
static int agree(const struct migration_header *offer, unsigned ours, unsigned *ret, struct error *err)
{
	if (!(offer->features & MIGRATION_BIDIRECTIONAL))
		return error_set(err, 400, "The other server is too old: its migration protocol is that of LXD 3.7");
	*ret = offer->features & ours;
	return 0;
}

static int source_answer_check(const struct migration_header *answer, unsigned offered, struct error *err)
{
	if (!answer->rsync)
		return error_set(err, 400, "The other server wants another way of transfer than rsync");
	if (answer->refresh)
		return error_set(err, 400, "Refreshing an existing instance is not supported by this server yet");
	if (!(answer->features & MIGRATION_BIDIRECTIONAL))
		return error_set(err, 400, "The other server is too old: its migration protocol is that of LXD 3.7");
	if (answer->features & ~offered || answer->index)
		return error_set(err, 400, "The other server agrees to what was not offered");
	return 0;
}

static int send_tree(struct migration_link *l, const struct migration_source *s, struct error *err)
{
	auto_migration_header struct migration_header answer = MIGRATION_HEADER_INIT;
	struct migration_header offer = {.rsync = true, .features = features_offered(s->compress), .idmap = *s->idmap};
	struct migration_transfer t = {
		.sending = true, .dirfd = s->dirfd, .progress = s->progress, .progress_arg = s->progress_arg};
	int r;

	send_header(l, &offer);
	r = recv_header(l, &answer, err);
	if (r == 0)
		r = source_answer_check(&answer, offer.features, err);
	if (r < 0)
		return r;
	t.features = answer.features;
	return migration_transfer(l, &t, err);
}

int migration_send(struct migration_link *l, const struct migration_source *s, struct error *err)
{
	auto_strbuf struct strbuf message = STRBUF_INIT;
	int r = send_tree(l, s, err);

	if (r < 0) {
		migration_answer(l, error_msg(err));
		return r;
	}
	r = migration_link_recv(l, VERDICT_MS, &message, err);
	if (r < 0)
		return error_wrap(err, "All files are sent, but the other server does not confirm them");
	r = migration_verdict_decode(message.data, message.len, err);
	return r < 0 ? error_wrap(err, "The other server failed") : 0;
}

static int sink_offer_check(const struct migration_header *offer, struct error *err)
{
	if (offer->running)
		return error_set(err, 400,
				 "The source instance is running: stop it first, this server receives stopped "
				 "instances only");
	if (offer->snapshots.len)
		return error_set(err, 400,
				 "The source instance has %zu snapshots, which this server cannot receive yet: "
				 "copy it with --instance-only",
				 offer->snapshots.len);
	return 0;
}

/* Other servers of ours confirm that they see the end marker by their own; nobody waits for it. */
int migration_receive(struct migration_link *l, const struct migration_sink *s, struct idmap *ret_idmap,
		      struct error *err)
{
	auto_migration_header struct migration_header offer = MIGRATION_HEADER_INIT;
	struct migration_header answer = {.rsync = true};
	struct migration_transfer t = {.dirfd = s->dirfd, .progress = s->progress, .progress_arg = s->progress_arg};
	int r = recv_header(l, &offer, err);

	if (r == 0)
		r = sink_offer_check(&offer, err);
	if (r == 0)
		r = agree(&offer, features_offered(s->compress), &answer.features, err);
	if (r < 0)
		return r;
	send_header(l, &answer);
	t.features = answer.features;
	r = migration_transfer(l, &t, err);
	if (r == 0)
		idmap_copy(ret_idmap, &offer.idmap);
	return r;
}
