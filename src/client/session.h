/* What commands on a terminal far away share: the websockets of their operation, the window's size. */
#pragma once

#include <stdbool.h>

#include "base/error.h"
#include "http/client_api.h"
#include "http/wsclient.h"

/* Open the websocket @name of the operation that @reply answered with; 500 when it has none. */
int session_open_socket(struct api *a, const struct api_reply *reply, const char *name, wsclient_message_fn fn,
			void *arg, struct wsclient **ret, struct error *err);
/* Of standard output; false when that is no terminal. */
bool session_window_size(unsigned *ret_width, unsigned *ret_height);
/* Tell it through the control socket. */
void session_send_window_size(struct wsclient *control);
