#include "base/error.h"

#include <stdarg.h>
#include <string.h>

#include "base/alloc.h"

/* The one table that pairs HTTP status and errno; the first row of a status wins. */
static const struct {
	int status;
	int errnum;
} status_errno[] = {
	{400, EINVAL}, {401, EACCES}, {403, EPERM},  {404, ENOENT}, {409, EEXIST}, {412, ESTALE},
	{413, EFBIG},  {500, EIO},    {501, ENOSYS}, {503, EAGAIN}, {507, ENOSPC}, {504, ETIMEDOUT},
};

static int status_to_errno(int status)
{
	for (size_t i = 0; i < ARRAY_SIZE(status_errno); i++)
		if (status_errno[i].status == status)
			return status_errno[i].errnum;
	return EIO;
}

int error_set(struct error *err, int status, const char *fmt, ...)
{
	char *msg;
	va_list ap;

	va_start(ap, fmt);
	msg = xvasprintf(fmt, ap);
	va_end(ap);
	free(err->msg);
	err->msg = msg;
	err->status = status;
	err->errnum = status_to_errno(status);
	return -err->errnum;
}

int error_errno(struct error *err, int errnum, const char *fmt, ...)
{
	auto_free char *text = NULL;
	va_list ap;

	if (errnum <= 0)
		errnum = EIO;
	va_start(ap, fmt);
	text = xvasprintf(fmt, ap);
	va_end(ap);
	free(err->msg);
	err->msg = xasprintf("%s: %s", text, strerror(errnum));
	err->status = 500;
	err->errnum = errnum;
	return -errnum;
}

int error_wrap(struct error *err, const char *fmt, ...)
{
	auto_free char *text = NULL;
	auto_free char *old = err->msg;
	va_list ap;

	va_start(ap, fmt);
	text = xvasprintf(fmt, ap);
	va_end(ap);
	err->msg = xasprintf("%s: %s", text, old ? old : "unknown error");
	if (!err->status)
		err->status = 500;
	if (!err->errnum)
		err->errnum = EIO;
	return -err->errnum;
}

int error_status(struct error *err, int status)
{
	err->status = status;
	return err->errnum ? -err->errnum : -EIO;
}

int error_move(struct error *dst, struct error *src)
{
	error_clear(dst);
	*dst = *src;
	*src = ERROR_INIT;
	return dst->errnum ? -dst->errnum : -EIO;
}

void error_clear(struct error *err)
{
	free(err->msg);
	*err = ERROR_INIT;
}

void error_ignore(struct error *err, const char *reason UNUSED)
{
	error_clear(err);
}

const char *error_msg(const struct error *err)
{
	return err->msg ? err->msg : "unknown error";
}
