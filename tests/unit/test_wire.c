/* Messages: every field comes back, and no prefix or changed byte of a message is read past its end. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "base/str.h"
#include "base/wire.h"

static const char *const list[] = {"a", "", "three", NULL};

static void put_all(struct strbuf *b)
{
	wire_put_u32(b, 7);
	wire_put_u64(b, UINT64_MAX - 1);
	wire_put_str(b, "text");
	wire_put_str(b, NULL);
	wire_put_str(b, "");
	wire_put_list(b, list);
}

static bool get_all(struct wire_reader *r)
{
	auto_strv struct strv v = STRV_INIT;
	uint32_t a = wire_get_u32(r);
	uint64_t b = wire_get_u64(r);
	auto_free char *s = wire_get_str(r);
	auto_free char *null = wire_get_str(r);
	auto_free char *empty = wire_get_str(r);

	wire_get_list(r, &v);
	return wire_done(r) && a == 7 && b == UINT64_MAX - 1 && s && streq(s, "text") && !null && empty &&
	       streq(empty, "") && v.len == 3 && streq(v.items[2], "three");
}

static void fields_come_back(void **state)
{
	auto_strbuf struct strbuf b = STRBUF_INIT;
	struct wire_reader r;

	(void)state;
	put_all(&b);
	r = (struct wire_reader){.data = (unsigned char *)b.data, .len = b.len};
	assert_true(get_all(&r));
}

static void every_prefix_is_refused(void **state)
{
	auto_strbuf struct strbuf b = STRBUF_INIT;

	(void)state;
	put_all(&b);
	for (size_t len = 0; len < b.len; len++) {
		auto_free unsigned char *copy = xmemdup(b.data, len ? len : 1);
		struct wire_reader r = {.data = copy, .len = len};

		assert_false(get_all(&r));
		assert_true(r.pos <= len);
	}
}

static void changed_bytes_stay_inside(void **state)
{
	auto_strbuf struct strbuf b = STRBUF_INIT;

	(void)state;
	put_all(&b);
	for (size_t i = 0; i < b.len; i++) {
		auto_free unsigned char *copy = xmemdup(b.data, b.len);
		struct wire_reader r = {.data = copy, .len = b.len};

		copy[i] ^= 0xff;
		get_all(&r);
		assert_true(r.pos <= b.len);
	}
}

static void left_over_bytes_are_refused(void **state)
{
	auto_strbuf struct strbuf b = STRBUF_INIT;
	struct wire_reader r;

	(void)state;
	put_all(&b);
	wire_put_u32(&b, 1);
	r = (struct wire_reader){.data = (unsigned char *)b.data, .len = b.len};
	assert_false(get_all(&r));
}

static void text_with_nul_is_refused(void **state)
{
	const unsigned char data[] = {3, 0, 0, 0, 'a', 0, 'b'};
	struct wire_reader r = {.data = data, .len = sizeof(data)};

	(void)state;
	assert_null(wire_get_str(&r));
	assert_true(r.bad);
}

static void errors_come_back(void **state)
{
	auto_strbuf struct strbuf b = STRBUF_INIT;
	auto_error struct error in = ERROR_INIT;
	auto_error struct error out = ERROR_INIT;
	struct wire_reader r;

	(void)state;
	error_errno(&in, ENOENT, "Open %s", "/x");
	wire_put_error(&b, &in);
	r = (struct wire_reader){.data = (unsigned char *)b.data, .len = b.len};
	assert_int_equal(wire_get_error(&r, &out), -ENOENT);
	assert_string_equal(error_msg(&out), error_msg(&in));
	assert_int_equal(out.status, 500);
}

static void malformed_error_is_an_error(void **state)
{
	struct wire_reader r = {.data = (const unsigned char *)"x", .len = 1};
	auto_error struct error err = ERROR_INIT;

	(void)state;
	assert_true(wire_get_error(&r, &err) < 0);
	assert_int_equal(err.status, 500);
}

static void packets_carry_fds(void **state)
{
	auto_wire_message struct wire_message m = WIRE_MESSAGE_INIT;
	auto_strbuf struct strbuf b = STRBUF_INIT;
	auto_error struct error err = ERROR_INIT;
	struct stat a, z;
	int pair[2], fd = 0;

	(void)state;
	assert_int_equal(wire_pair(pair, &err), 0);
	put_all(&b);
	assert_int_equal(wire_send(pair[0], &b, &fd, 1), 0);
	assert_int_equal(wire_recv(pair[1], &m), 1);
	assert_true(get_all(&m.reader));
	assert_true(m.fds[0] >= 0 && m.fds[1] < 0);
	assert_int_equal(fstat(fd, &a), 0);
	assert_int_equal(fstat(m.fds[0], &z), 0);
	assert_int_equal(a.st_ino, z.st_ino);
	close(pair[0]);
	assert_int_equal(wire_recv(pair[1], &m), 0);
	close(pair[1]);
}

static void oversized_messages_are_refused(void **state)
{
	auto_strbuf struct strbuf b = STRBUF_INIT;
	auto_error struct error err = ERROR_INIT;
	int pair[2];

	(void)state;
	assert_int_equal(wire_pair(pair, &err), 0);
	while (b.len <= WIRE_MESSAGE_MAX)
		wire_put_str(&b, "0123456789012345678901234567890123456789012345678901234567890123456789");
	assert_int_equal(wire_send(pair[0], &b, NULL, 0), -EMSGSIZE);
	close(pair[0]);
	close(pair[1]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(fields_come_back),
		cmocka_unit_test(every_prefix_is_refused),
		cmocka_unit_test(changed_bytes_stay_inside),
		cmocka_unit_test(left_over_bytes_are_refused),
		cmocka_unit_test(text_with_nul_is_refused),
		cmocka_unit_test(errors_come_back),
		cmocka_unit_test(malformed_error_is_an_error),
		cmocka_unit_test(packets_carry_fds),
		cmocka_unit_test(oversized_messages_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
