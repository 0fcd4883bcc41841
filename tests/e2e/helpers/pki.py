"""Certificates for tests, by the openssl program: authorities, leafs, revocation lists."""
import datetime
import pathlib
import subprocess

CURVES = {"p256": "prime256v1", "p384": "secp384r1", "p521": "secp521r1"}


def openssl(*args, stdin=None):
    out = subprocess.run(["openssl", *map(str, args)], input=stdin, capture_output=True)
    assert out.returncode == 0, f"openssl {args}: {out.stderr.decode()}"
    return out.stdout


def make_key(path, kind="p384"):
    """kind: a name of CURVES, ed25519, or the bits of an RSA key."""
    if kind in CURVES:
        openssl("ecparam", "-name", CURVES[kind], "-genkey", "-noout", "-out", path)
    elif kind == "ed25519":
        openssl("genpkey", "-algorithm", "ed25519", "-out", path)
    else:
        openssl("genrsa", "-out", path, kind)
    return path


class Pair:
    """A certificate and its key in files."""

    def __init__(self, crt, key):
        self.crt, self.key = pathlib.Path(crt), pathlib.Path(key)

    @property
    def pem(self):
        return self.crt.read_text()

    @property
    def der(self):
        return openssl("x509", "-in", self.crt, "-outform", "DER")


class Authority:
    """A certificate authority in a folder of its own."""

    def __init__(self, folder, name="Test CA", kind="p384", parent=None):
        self.folder = pathlib.Path(folder)
        self.folder.mkdir(parents=True)
        (self.folder / "index.txt").touch()
        (self.folder / "crlnumber").write_text("01\n")
        self.config = self.folder / "ca.cnf"
        self.config.write_text(f"""[ca]
default_ca = us
[us]
database = {self.folder}/index.txt
crlnumber = {self.folder}/crlnumber
default_md = sha384
default_crl_days = 30
[dn]
""")
        self.serial = 1000
        key = make_key(self.folder / "ca.key", kind)
        self.pair = Pair(self.folder / "ca.crt", key)
        if parent:
            made = parent.issue(self.folder / "own", name, kind, extensions="basicConstraints=critical,CA:TRUE\n"
                                "keyUsage=critical,keyCertSign,cRLSign\n")
            self.pair = made
        else:
            openssl("req", "-x509", "-new", "-key", key, "-subj", f"/CN={name}", "-days", 100, "-out", self.pair.crt,
                    "-addext", "keyUsage=critical,keyCertSign,cRLSign", "-config", "/etc/ssl/openssl.cnf")

    def issue(self, base, name="client", kind="p384", days=10, extensions="extendedKeyUsage=clientAuth\n", md="sha256"):
        base = pathlib.Path(base)
        key = make_key(base.with_suffix(".key"), kind)
        self.serial += 1
        csr = openssl("req", "-new", "-key", key, "-subj", f"/O=test/CN={name}", "-config", "/etc/ssl/openssl.cnf")
        ext = base.with_suffix(".ext")
        ext.write_text(extensions)
        crt = openssl("x509", "-req", "-CA", self.pair.crt, "-CAkey", self.pair.key, "-set_serial", self.serial, "-days", days,
                      "-extfile", ext, f"-{md}", stdin=csr)
        base.with_suffix(".crt").write_bytes(crt)
        return Pair(base.with_suffix(".crt"), key)

    def revoke(self, pair):
        openssl("ca", "-config", self.config, "-keyfile", self.pair.key, "-cert", self.pair.crt, "-revoke", pair.crt)

    def crl(self, form="PEM"):
        pem = openssl("ca", "-config", self.config, "-keyfile", self.pair.key, "-cert", self.pair.crt, "-gencrl")
        return pem if form == "PEM" else openssl("crl", "-outform", form, stdin=pem)


def self_signed(base, kind="p384", name="somebody", server=False, extra=()):
    """What lxd and lxc make for themselves, or nearly."""
    base = pathlib.Path(base)
    key = make_key(base.with_suffix(".key"), kind)
    usage = ["-addext", f"extendedKeyUsage={'serverAuth' if server else 'clientAuth'}"]
    if server:
        usage += ["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1,IP:::1"]
    for ext in extra:
        usage += ["-addext", ext]
    openssl("req", "-x509", "-new", "-key", key, "-subj", f"/O=linuxcontainers.org/CN={name}", "-days", 100,
            "-addext", "basicConstraints=critical,CA:FALSE", "-addext", "keyUsage=critical,digitalSignature,keyEncipherment",
            *usage, "-out", base.with_suffix(".crt"), "-config", "/etc/ssl/openssl.cnf")
    return Pair(base.with_suffix(".crt"), key)


def now():
    return datetime.datetime.now(datetime.timezone.utc).timestamp()
