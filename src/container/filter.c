/*
 * What seccomp program liblxc loads into a container's init. liblxc keeps it to itself, so this program stands in for
 * libseccomp's seccomp_load(): it takes a copy, in memory shared with the process that started the container, and then
 * calls the real one. A process that joins the container later loads the same instructions.
 */
#include <dlfcn.h>
#include <linux/filter.h>
#include <seccomp.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/fd.h"
#include "container/join.h"

enum filter_state { FILTER_NONE, FILTER_COPIED, FILTER_NOT_REPEATABLE };

/* Pages of it that nobody touches cost nothing. */
struct filter_copy {
	uint32_t state; /* enum filter_state */
	uint32_t len;
	struct sock_filter code[BPF_MAXINSNS];
};

static struct filter_copy *copy;

void filter_copy_expect(void)
{
	void *p = mmap(NULL, sizeof(*copy), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	copy = p == MAP_FAILED ? NULL : p;
}

bool filter_copy_get(const struct sock_filter **ret_code, size_t *ret_len)
{
	if (!copy || copy->state != FILTER_COPIED)
		return false;
	*ret_code = copy->code;
	*ret_len = copy->len;
	return true;
}

/* Attributes that change how a program is loaded; only a plain load can be repeated from the instructions. */
static bool is_plain(const scmp_filter_ctx ctx)
{
	static const enum scmp_filter_attr attributes[] = {SCMP_FLTATR_CTL_NNP, SCMP_FLTATR_CTL_TSYNC,
							   SCMP_FLTATR_CTL_LOG, SCMP_FLTATR_CTL_SSB};

	for (size_t i = 0; i < ARRAY_SIZE(attributes); i++) {
		uint32_t value = 1;

		if (seccomp_attr_get(ctx, attributes[i], &value) != 0 || value != 0)
			return false;
	}
	return true;
}

static void take_copy(const scmp_filter_ctx ctx)
{
	auto_close int fd = memfd_create("filter", MFD_CLOEXEC);
	ssize_t n = -1;

	copy->state = FILTER_NOT_REPEATABLE;
	if (fd < 0 || !is_plain(ctx) || seccomp_export_bpf(ctx, fd) != 0 || lseek(fd, 0, SEEK_SET) < 0)
		return;
	n = fd_read_full(fd, copy->code, sizeof(copy->code));
	if (n <= 0 || (size_t)n % sizeof(copy->code[0]) != 0)
		return;
	copy->len = (uint32_t)((size_t)n / sizeof(copy->code[0]));
	copy->state = FILTER_COPIED;
}

/* Called by liblxc in place of libseccomp's. */
__attribute__((visibility("default"))) int seccomp_load(const scmp_filter_ctx ctx)
{
	int (*real)(const scmp_filter_ctx) = NULL;
	void *symbol = dlsym(RTLD_NEXT, "seccomp_load");
	int r;

	if (!symbol)
		return -ENOSYS;
	memcpy(&real, &symbol, sizeof(real));
	if (copy)
		take_copy(ctx);
	r = real(ctx);
	/* a program that asks a supervisor comes with an fd that only the first load can have */
	if (copy && (r != 0 || seccomp_notify_fd(ctx) >= 0))
		copy->state = FILTER_NOT_REPEATABLE;
	return r;
}
