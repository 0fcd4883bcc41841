"""A raw client of the API over its UNIX socket: no library between the test and the bytes."""
import copy
import http.client
import json
import socket
import time
import urllib.parse

from . import ws


class UnixConnection(http.client.HTTPConnection):
    def __init__(self, path, timeout):
        super().__init__("lxd", timeout=timeout)
        self._path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


class Response:
    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body

    @property
    def json(self):
        return json.loads(self.body)

    @property
    def metadata(self):
        return self.json["metadata"]

    @property
    def error(self):
        return self.json["error"]

    def __repr__(self):
        return f"<HTTP {self.status} {self.body[:600]!r}>"


class Client:
    def __init__(self, socket_path, timeout=60):
        self.socket_path, self.timeout = socket_path, timeout
        self.project = None

    def in_project(self, project):
        """The same client, whose requests name @project unless they name one themselves."""
        other = copy.copy(self)
        other.project = project
        return other

    def connection(self, timeout=None):
        return UnixConnection(self.socket_path, timeout or self.timeout)

    def request(self, method, path, body=None, headers=None, timeout=None):
        """@body: bytes are sent as they are, anything else as JSON."""
        headers = dict(headers or {})
        if self.project and "project=" not in path and "all-projects" not in path:
            path += f"{'&' if '?' in path else '?'}project={quote(self.project)}"
        if body is not None and not isinstance(body, bytes):
            body = json.dumps(body).encode()
            headers.setdefault("Content-Type", "application/json")
        connection = self.connection(timeout)
        try:
            try:
                connection.request(method, path, body, headers)
            except BrokenPipeError:
                pass  # refused before the whole body was read: the answer is there all the same
            reply = connection.getresponse()
            return Response(reply.status, reply.headers, reply.read())
        finally:
            connection.close()

    def get(self, path):
        """The metadata of a GET that must succeed."""
        reply = self.request("GET", path)
        assert reply.status == 200, (path, reply)
        return reply.metadata

    def post(self, path, body=None, **kwargs):
        return self.request("POST", path, body, **kwargs)

    def put(self, path, body=None, **kwargs):
        return self.request("PUT", path, body, **kwargs)

    def patch(self, path, body=None, **kwargs):
        return self.request("PATCH", path, body, **kwargs)

    def delete(self, path, **kwargs):
        return self.request("DELETE", path, **kwargs)

    def websocket(self, path):
        return ws.WebSocket(self.socket_path, path)

    # Operations

    def wait(self, reply, timeout=60):
        """The finished operation that an async reply started."""
        assert reply.status == 202, reply
        operation = reply.json["operation"]
        done = self.request("GET", f"{operation}/wait?timeout={timeout}", timeout=timeout + 10)
        assert done.status == 200, done
        assert done.metadata["status_code"] >= 200, f"not finished after {timeout} s: {done}"
        return done.metadata

    def done(self, reply, timeout=60):
        """As wait(), and it must have succeeded."""
        operation = self.wait(reply, timeout)
        assert operation["status"] == "Success", operation
        return operation

    def failure(self, reply, timeout=60):
        """The error text of a request that must fail, at once or in its operation."""
        if reply.status == 202:
            operation = self.wait(reply, timeout)
            assert operation["status"] == "Failure" and operation["status_code"] == 400, operation
            return operation["err"]
        assert 400 <= reply.status < 600, reply
        envelope = reply.json
        assert envelope["type"] == "error" and envelope["error_code"] == reply.status, reply
        return envelope["error"]

    # Instances

    def create(self, name, config=None, devices=None, image="bb", **more):
        body = {"name": name, "source": {"type": "image", "alias": image}, "config": config or {}, "devices": devices or {}}
        body.update(more)
        return self.post("/1.0/instances", body)

    def state(self, name, action, **more):
        return self.put(f"/1.0/instances/{name}/state", {"action": action, **more})

    def launch(self, name, config=None, devices=None, **more):
        self.done(self.create(name, config, devices, **more))
        self.done(self.state(name, "start"))

    def remove(self, name):
        """Stop (if need be) and delete; an instance that is not there is fine."""
        reply = self.request("GET", f"/1.0/instances/{name}")
        if reply.status == 404:
            return
        if reply.metadata["status"] in ("Running", "Frozen"):
            self.wait(self.state(name, "stop", force=True))
            if self.request("GET", f"/1.0/instances/{name}").status == 404:
                return  # it was ephemeral
        for _ in range(50):
            reply = self.request("DELETE", f"/1.0/instances/{name}")
            operation = self.wait(reply) if reply.status == 202 else {"status": "refused", "err": reply.error}
            if "running" in operation["err"]:
                self.wait(self.state(name, "stop", force=True))  # a daemon that just came up has started it
            elif "busy" not in operation["err"]:
                break
            time.sleep(0.2)  # the reference is still in its stop hooks
        assert operation["status"] == "Success", operation

    def run(self, name, *command, user=0, environment=None, cwd="", timeout=60):
        """Run a command with recorded output: (exit status, stdout, stderr)."""
        body = {"command": list(command), "record-output": True, "wait-for-websocket": False, "interactive": False,
                "environment": environment or {}, "user": user, "cwd": cwd}
        operation = self.wait(self.post(f"/1.0/instances/{name}/exec", body), timeout)
        metadata = operation["metadata"]
        texts = []
        for stream in ("1", "2"):
            url = (metadata.get("output") or {}).get(stream)
            texts.append(self.request("GET", url).body.decode() if url else "")
            if url:
                self.delete(url)
        return metadata["return"], texts[0], texts[1]

    def sh(self, name, script, **kwargs):
        """stdout of a shell script in the instance, which must succeed."""
        status, out, err = self.run(name, "sh", "-c", script, **kwargs)
        assert status == 0, (status, out, err)
        return out


def quote(text):
    return urllib.parse.quote(text, safe="")
