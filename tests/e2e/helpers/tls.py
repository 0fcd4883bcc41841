"""The API over TLS: certificates made by openssl, and a client that is nobody's library but Python's ssl."""
import base64
import hashlib
import http.client
import pathlib
import socket
import ssl
import subprocess

from . import api, ws

PORT = 8443


class Certificate:
    """A key pair in files, and what the tests want to know of it."""

    def __init__(self, crt, key):
        self.crt, self.key = pathlib.Path(crt), pathlib.Path(key)

    @property
    def pem(self):
        return self.crt.read_text()

    @property
    def der(self):
        return ssl.PEM_cert_to_DER_cert(self.pem[:self.pem.index("-----END CERTIFICATE-----") + 26])

    @property
    def base64(self):
        return base64.b64encode(self.der).decode()

    @property
    def fingerprint(self):
        return hashlib.sha256(self.der).hexdigest()


def openssl(*args, stdin=None):
    result = subprocess.run(["openssl", *map(str, args)], input=stdin, capture_output=True, check=False)
    assert result.returncode == 0, (args, result.stderr.decode())
    return result.stdout


def make_certificate(directory, name, *, key="ec:P-384", days=3650, not_after=None, digest="sha384"):
    """A self-signed client certificate with CN=@name. @key: "ec:CURVE" or "rsa:BITS"."""
    directory = pathlib.Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    crt, key_file = directory / f"{name}.crt", directory / f"{name}.key"
    kind, _, size = key.partition(":")
    new = ["-newkey", "ec", "-pkeyopt", f"ec_paramgen_curve:{size}"] if kind == "ec" else ["-newkey", key]
    openssl("req", "-x509", *new, "-nodes", "-keyout", key_file, "-out", crt, "-days", days, f"-{digest}",
            "-subj", f"/O=test/CN={name}", "-addext", "keyUsage=critical,digitalSignature",
            "-addext", "extendedKeyUsage=clientAuth")
    return Certificate(crt, key_file)


def context(certificate=None, *, minimum=ssl.TLSVersion.TLSv1_2, maximum=None, ciphers=None):
    """Trusts any server: the tests compare fingerprints where it matters. @ciphers: OpenSSL's text, "DEFAULT:@SECLEVEL=0"."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.check_hostname = False
    made.verify_mode = ssl.CERT_NONE
    made.minimum_version = minimum
    if maximum:
        made.maximum_version = maximum
    if ciphers:
        made.set_ciphers(ciphers)
    if certificate:
        made.load_cert_chain(certificate.crt, certificate.key)
    return made


def connect(host="127.0.0.1", port=PORT, certificate=None, timeout=20, source=None, **kwargs):
    """A TLS socket. @source: the address to come from."""
    raw = socket.create_connection((host, port), timeout=timeout, source_address=(source, 0) if source else None)
    raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # http.client sends a body on its own
    try:
        return context(certificate, **kwargs).wrap_socket(raw, server_hostname=None)
    except BaseException:
        raw.close()
        raise


class TlsConnection(http.client.HTTPConnection):
    def __init__(self, client, timeout):
        super().__init__(client.host, client.port, timeout=timeout)
        self._client = client

    def connect(self):
        self.sock = self._client.connect(self.timeout)


class TlsClient(api.Client):
    """As api.Client, over TLS with a certificate or none; one connection a request. @options are connect()'s."""

    def __init__(self, certificate=None, host="127.0.0.1", port=PORT, timeout=60, **options):
        super().__init__(None, timeout)
        self.certificate, self.host, self.port, self.options = certificate, host, port, options

    def connect(self, timeout=None):
        """A TLS socket to the server."""
        return connect(self.host, self.port, self.certificate, timeout or self.timeout, **self.options)

    def connection(self, timeout=None):
        """A connection that the test may keep."""
        return TlsConnection(self, timeout or self.timeout)

    def websocket(self, path, headers=None):
        return ws.WebSocket(None, path, sock=self.connect(20), headers=headers)


def server_fingerprint(host="127.0.0.1", port=PORT):
    with connect(host, port) as sock:
        return hashlib.sha256(sock.getpeercert(binary_form=True)).hexdigest()
