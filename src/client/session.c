#include "client/session.h"

#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/json.h"

int session_open_socket(struct api *a, const struct api_reply *reply, const char *name, wsclient_message_fn fn,
			void *arg, struct wsclient **ret, struct error *err)
{
	const char *secret = json_get_str(json_get(json_get(reply->metadata, "metadata"), "fds"), name);
	auto_free char *escaped = NULL;
	auto_free char *url = NULL;
	auto_free char *full = NULL;

	if (!secret)
		return error_set(err, 500, "The server sent no secret for stream %s", name);
	escaped = url_escaped(secret);
	url = xasprintf("%.*s/websocket?secret=%s", (int)strcspn(reply->operation, "?"), reply->operation, escaped);
	full = api_path(a, url);
	return wsclient_open(a->http, full, fn, arg, ret, err);
}

bool session_window_size(unsigned *ret_width, unsigned *ret_height)
{
	struct winsize ws;

	if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &ws) < 0)
		return false;
	*ret_width = ws.ws_col;
	*ret_height = ws.ws_row;
	return true;
}

void session_send_window_size(struct wsclient *control)
{
	auto_free char *msg = NULL;
	unsigned width, height;

	if (!session_window_size(&width, &height))
		return;
	msg = xasprintf("{\"command\":\"window-resize\",\"args\":{\"width\":\"%u\",\"height\":\"%u\"}}", width, height);
	wsclient_send(control, true, msg, strlen(msg));
}
