"""A TLS client that sends what others cannot: warning alerts, key updates, empty records. GnuTLS through ctypes."""
import ctypes
import socket

CLIENT, CRD_CERTIFICATE, WARNING = 2, 1, 1
library = ctypes.CDLL("libgnutls.so.30")
PUSH = ctypes.CFUNCTYPE(ctypes.c_ssize_t, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t)
library.gnutls_alert_send.argtypes = (ctypes.c_void_p, ctypes.c_int, ctypes.c_int)
library.gnutls_session_key_update.argtypes = (ctypes.c_void_p, ctypes.c_uint)
library.gnutls_record_send.argtypes = (ctypes.c_void_p, ctypes.c_char_p, ctypes.c_size_t)
library.gnutls_record_send2.argtypes = (ctypes.c_void_p, ctypes.c_char_p, ctypes.c_size_t, ctypes.c_size_t, ctypes.c_uint)
library.gnutls_transport_set_int2.argtypes = (ctypes.c_void_p, ctypes.c_int, ctypes.c_int)


class Flooder:
    """A connection to @port in the version "1.2" or "1.3", after the handshake. Sending keeps records until flush()."""

    def __init__(self, port, version):
        self.sock = socket.create_connection(("127.0.0.1", port), timeout=20)
        self.session, credentials = ctypes.c_void_p(), ctypes.c_void_p()
        library.gnutls_certificate_allocate_credentials(ctypes.byref(credentials))
        library.gnutls_init(ctypes.byref(self.session), CLIENT | 1 << 17)  # no signals
        library.gnutls_priority_set_direct(self.session, f"NORMAL:-VERS-ALL:+VERS-TLS{version}".encode(), None)
        library.gnutls_credentials_set(self.session, CRD_CERTIFICATE, credentials)
        self.sock.setblocking(True)
        library.gnutls_transport_set_int2(self.session, self.sock.fileno(), self.sock.fileno())
        while (r := library.gnutls_handshake(self.session)) < 0:
            assert not library.gnutls_error_is_fatal(r), r
        self.records = bytearray()
        self.push = PUSH(self.keep)
        library.gnutls_transport_set_push_function(self.session, self.push)

    def keep(self, _, data, size):
        self.records += ctypes.string_at(data, size)
        return size

    def alert(self, code=90):
        assert library.gnutls_alert_send(self.session, WARNING, code) == 0

    def key_update(self):
        assert library.gnutls_session_key_update(self.session, 0) == 0

    def empty(self):
        assert library.gnutls_record_send2(self.session, b"", 0, 1, 0) >= 0

    def data(self, what):
        assert library.gnutls_record_send(self.session, what, len(what)) == len(what)

    def flush(self):
        self.sock.sendall(self.records)
        self.records.clear()

    def close(self):
        self.sock.close()
