"""Tokens for adding certificates: issued, and used as the Go client does."""
import base64
import json

from helpers import tls


def issue(api, name="invited", **fields):
    reply = api.post("/1.0/certificates", {"type": "client", "name": name, "token": True, **fields})
    assert reply.status == 202, reply
    return reply


def printable(metadata):
    """As the Go client makes it from the operation."""
    token = {"client_name": metadata["request"]["name"], "fingerprint": metadata["fingerprint"],
             "addresses": metadata["addresses"], "secret": metadata["secret"],
             "expires_at": metadata.get("expiresAt", "0001-01-01T00:00:00Z")}
    return base64.b64encode(json.dumps(token, separators=(",", ":")).encode()).decode()


def use(certificate, token, /, **fields):
    return tls.TlsClient(certificate).post("/1.0/certificates", {"type": "", "password": token, **fields})
