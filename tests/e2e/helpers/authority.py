"""Certificate authorities: real ones made by easy-rsa, and an issuer that signs whatever a test needs, good or bad."""
import datetime
import os
import pathlib
import subprocess

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from .tls import Certificate

EASYRSA = pathlib.Path("/usr/share/easy-rsa")
CLIENT, SERVER = ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH
ANY_PURPOSE = ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE
DAY = datetime.timedelta(days=1)


def now():
    return datetime.datetime.utcnow().replace(microsecond=0)


class EasyRsa:
    """One PKI folder of easy-rsa."""

    def __init__(self, directory, name, *, algorithm="ec", parent=None):
        self.dir, self.name, self.algorithm = pathlib.Path(directory) / name, name, algorithm
        self.run("init-pki")
        if parent is None:
            self.run("build-ca", "nopass", cn=name)
        else:
            self.run("build-ca", "nopass", "subca", cn=name)
            parent.run("import-req", str(self.dir / "reqs/ca.req"), name)
            parent.run("sign-req", "ca", name)
            (self.dir / "ca.crt").write_bytes((parent.dir / f"issued/{name}.crt").read_bytes())

    def run(self, *args, cn=""):
        size = {"EASYRSA_CURVE": "secp384r1"} if self.algorithm == "ec" else {"EASYRSA_KEY_SIZE": "2048"}
        env = {"PATH": os.environ["PATH"], "EASYRSA": str(EASYRSA), "EASYRSA_PKI": str(self.dir), "EASYRSA_BATCH": "1",
               "EASYRSA_NO_VARS": "1", "EASYRSA_ALGO": self.algorithm, "HOME": str(self.dir.parent),
               "EASYRSA_CRL_DAYS": "180", **({"EASYRSA_REQ_CN": cn} if cn else {}), **size}
        result = subprocess.run([str(EASYRSA / "easyrsa"), *args], env=env, capture_output=True, text=True, stdin=subprocess.DEVNULL,
                                cwd=self.dir.parent, check=False)
        assert result.returncode == 0, (args, result.stdout, result.stderr)

    @property
    def pem(self):
        return pem_block((self.dir / "ca.crt").read_text()) + "\n"

    def client(self, name):
        return self._full("build-client-full", name)

    def server(self, name, *san):
        return self._full("build-server-full", name, f"--subject-alt-name={','.join(san)}")

    def _full(self, command, name, *options):
        self.run(*options, command, name, "nopass")
        # copies: easy-rsa moves what it revokes
        made = Certificate(self.dir / f"{name}.crt", self.dir / f"{name}.key")
        made.crt.write_text(pem_block((self.dir / f"issued/{name}.crt").read_text()) + "\n")
        made.key.write_bytes((self.dir / f"private/{name}.key").read_bytes())
        return made

    def revoke(self, name):
        self.run("revoke", name)

    def crl(self):
        self.run("gen-crl")
        return (self.dir / "crl.pem").read_text()

    def issuer(self):
        return Issuer(Certificate(self.dir / "ca.crt", self.dir / "private/ca.key"))


def pem_block(text):
    """The first certificate without the words that openssl puts before it."""
    begin = text.index("-----BEGIN CERTIFICATE-----")
    return text[begin:text.index("-----END CERTIFICATE-----") + 25]


def with_chain(certificate, *authorities):
    """The same key, sent with @authorities (PEM, one certificate each) after the leaf."""
    path = certificate.crt.with_suffix(f".{len(authorities)}-{os.urandom(2).hex()}.chain.crt")
    path.write_text("".join(pem_block(pem) + "\n" for pem in (certificate.pem, *authorities)))
    return Certificate(path, certificate.key)


def new_key(kind):
    """@kind: "ec:P-256", "ec:P-384", "rsa:BITS"."""
    family, _, size = kind.partition(":")
    if family == "rsa":
        return rsa.generate_private_key(65537, int(size))
    return ec.generate_private_key({"P-256": ec.SECP256R1(), "P-384": ec.SECP384R1()}[size])


def usage(*names):
    known = ["digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement", "key_cert_sign",
             "crl_sign", "encipher_only", "decipher_only"]
    return x509.KeyUsage(**{name: name in names for name in known})


def subject(name):
    return x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, "test"), x509.NameAttribute(NameOID.COMMON_NAME, name)])


class Issuer:
    """Signs with a certificate's key, whether that may or not. All that it makes lands in @directory."""

    def __init__(self, certificate, directory=None):
        self.certificate = certificate
        self.directory = pathlib.Path(directory or certificate.crt.parent)
        self.directory.mkdir(parents=True, exist_ok=True)
        self.x509 = x509.load_pem_x509_certificate(pem_block(certificate.pem).encode())
        self.key = serialization.load_pem_private_key(certificate.key.read_bytes(), None)

    @property
    def pem(self):
        return pem_block(self.certificate.pem) + "\n"

    def issue(self, name, *, key="ec:P-256", start=None, end=None, purposes=(CLIENT,), ca=False, pathlen=None, key_usage="default",
              digest=None, serial=None, extensions=(), as_name=None, dn=None):
        """A certificate with CN=@name. @purposes None: no such extension; @ca None: no basic constraints; @as_name: the issuer's name."""
        private = key if not isinstance(key, str) else new_key(key)
        if key_usage == "default":
            key_usage = ("key_cert_sign", "crl_sign") if ca else ("digital_signature",)
        builder = (x509.CertificateBuilder().subject_name(dn or subject(name)).issuer_name(as_name or self.x509.subject)
                   .public_key(private.public_key()).serial_number(serial or x509.random_serial_number())
                   .not_valid_before(start or now() - DAY).not_valid_after(end or now() + 30 * DAY))
        if ca is not None:
            builder = builder.add_extension(x509.BasicConstraints(ca, pathlen), critical=True)
        if key_usage is not None:
            builder = builder.add_extension(usage(*key_usage), critical=True)
        if purposes is not None and not ca:
            builder = builder.add_extension(x509.ExtendedKeyUsage(purposes), critical=False)
        for extension, critical in extensions:
            builder = builder.add_extension(extension, critical)
        made = builder.sign(self.key, digest or hashes.SHA256())
        path = self.directory / f"{name}-{made.serial_number:x}"[:120]
        result = Certificate(path.with_suffix(".crt"), path.with_suffix(".key"))
        result.crt.write_bytes(made.public_bytes(serialization.Encoding.PEM))
        result.key.write_bytes(private.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
                                                     serialization.NoEncryption()))
        result.serial = made.serial_number
        return result

    def sub(self, name, **kwargs):
        """An authority below this one (unless @kwargs spoil it)."""
        return Issuer(self.issue(name, **{"ca": True, "key": "ec:P-384", **kwargs}), self.directory)

    def crl(self, *serials, start=None, end=None, digest=None, as_name=None, der=False):
        builder = (x509.CertificateRevocationListBuilder().issuer_name(as_name or self.x509.subject)
                   .last_update(start or now() - DAY).next_update(end or now() + 30 * DAY)
                   .add_extension(x509.CRLNumber(1), critical=False))
        for serial in serials:
            builder = builder.add_revoked_certificate(
                x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(now() - DAY).build())
        encoding = serialization.Encoding.DER if der else serialization.Encoding.PEM
        data = builder.sign(self.key, digest or hashes.SHA256()).public_bytes(encoding)
        return data if der else data.decode()


def root(directory, name, **kwargs):
    """A self-signed authority (or, with @kwargs, what only looks like one)."""
    key = new_key(kwargs.pop("key", "ec:P-384"))
    directory = pathlib.Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    issuer = object.__new__(Issuer)
    issuer.key, issuer.directory = key, directory
    dn = kwargs.pop("dn", None) or subject(name)
    made = issuer.issue(name, **{"key": key, "ca": True, "as_name": dn, "dn": dn, "end": now() + 3000 * DAY, **kwargs})
    return Issuer(made, directory)


def self_signed(directory, name, **kwargs):
    """A client certificate that no authority knows."""
    return root(directory, name, **{"ca": False, "key": "ec:P-256", "end": now() + 30 * DAY, **kwargs}).certificate
