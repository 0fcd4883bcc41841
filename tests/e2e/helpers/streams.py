"""A simplestreams image server on loopback, with an authority of its own: what images.linuxcontainers.org is, in small."""
import datetime
import functools
import hashlib
import http.server
import ipaddress
import json
import pathlib
import ssl
import threading

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


def make_authority(name="test authority"):
    """(certificate, key) that may sign others."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.timezone.utc)
    cert = (x509.CertificateBuilder().subject_name(subject).issuer_name(subject).public_key(key.public_key())
            .serial_number(x509.random_serial_number()).not_valid_before(now - datetime.timedelta(1))
            .not_valid_after(now + datetime.timedelta(30))
            .add_extension(x509.BasicConstraints(True, None), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(x509.KeyUsage(True, False, False, False, False, True, True, False, False), critical=True)
            .sign(key, hashes.SHA256()))
    return cert, key


def make_leaf(authority, name="localhost", client=False):
    """(certificate, key) signed by @authority: a server's for 127.0.0.1 and localhost, or a client's."""
    ca, ca_key = authority
    key = ec.generate_private_key(ec.SECP384R1())
    now = datetime.datetime.now(datetime.timezone.utc)
    usage = x509.oid.ExtendedKeyUsageOID
    builder = (x509.CertificateBuilder().subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
               .issuer_name(ca.subject).public_key(key.public_key()).serial_number(x509.random_serial_number())
               .not_valid_before(now - datetime.timedelta(1)).not_valid_after(now + datetime.timedelta(30))
               .add_extension(x509.BasicConstraints(False, None), critical=True)
               .add_extension(x509.ExtendedKeyUsage([usage.CLIENT_AUTH if client else usage.SERVER_AUTH]), critical=False))
    if not client:
        builder = builder.add_extension(x509.SubjectAlternativeName(
            [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
    return builder.sign(ca_key, hashes.SHA256()), key


def write_pem(path, cert=None, key=None):
    """Writes a certificate, a key, or both."""
    data = b""
    if cert:
        data += cert.public_bytes(serialization.Encoding.PEM)
    if key:
        data += key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL,
                                  serialization.NoEncryption())
    pathlib.Path(path).write_bytes(data)
    return path


def sha256(*parts):
    return hashlib.sha256(b"".join(parts)).hexdigest()


class Streams:
    """Serves @directory over https; products are added with add()."""

    def __init__(self, directory):
        self.dir = pathlib.Path(directory)
        self.products = {}
        self.requests = []
        self.authority = make_authority()
        self.ca = write_pem(self.dir / "ca.pem", self.authority[0])
        (self.dir / "tree/streams/v1").mkdir(parents=True)
        self.server = None

    def add(self, os, release, arch, files, version="20260101_07:42", aliases=None):
        """An image of @files: (metadata archive, root file system as squashfs). Gives back its fingerprint."""
        meta, root = files
        folder = f"images/{os}/{release}/{arch}/{version}"
        (self.dir / "tree" / folder).mkdir(parents=True, exist_ok=True)
        for name, data in (("lxd.tar.xz", meta), ("rootfs.squashfs", root)):
            (self.dir / "tree" / folder / name).write_bytes(data)
        fingerprint = sha256(meta, root)
        product = self.products.setdefault(f"{os}:{release}:{arch}:default", {
            "aliases": aliases or f"{os}/{release}/default,{os}/{release}", "arch": arch, "os": os.capitalize(), "release": release,
            "release_title": release, "variant": "default", "versions": {}})
        product["versions"][version] = {"items": {
            "lxd.tar.xz": {"ftype": "lxd.tar.xz", "path": f"{folder}/lxd.tar.xz", "size": len(meta), "sha256": sha256(meta),
                           "combined_squashfs_sha256": fingerprint},
            "root.squashfs": {"ftype": "squashfs", "path": f"{folder}/rootfs.squashfs", "size": len(root), "sha256": sha256(root)}}}
        self.write()
        return fingerprint

    def write(self):
        index = {"index": {"images": {"datatype": "image-downloads", "path": "streams/v1/images.json", "format": "products:1.0",
                                      "products": list(self.products)}}, "format": "index:1.0"}
        self.put("streams/v1/index.json", json.dumps(index))
        self.put("streams/v1/images.json", json.dumps({"content_id": "images", "datatype": "image-downloads",
                                                       "format": "products:1.0", "products": self.products}))

    def put(self, path, text):
        (self.dir / "tree" / path).write_text(text)

    def start(self):
        outer = self

        class Handler(http.server.SimpleHTTPRequestHandler):
            def log_message(self, *args):
                outer.requests.append(self.requestline)

        handler = functools.partial(Handler, directory=str(self.dir / "tree"))
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(write_pem(self.dir / "server.pem", *make_leaf(self.authority)))
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f"https://localhost:{self.server.server_address[1]}"
        return self

    def stop(self):
        if not self.server:
            return
        self.server.shutdown()
        self.server.server_close()
