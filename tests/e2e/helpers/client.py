"""A client program with a configuration folder of its own."""
import os
import pathlib
import pty
import select
import shutil
import subprocess
import time

from .daemon import TOP
from .tls import make_certificate

OURS = pathlib.Path(os.environ.get("LXD_BIN", TOP / "build")) / "lxc"


class ClientProgram:
    def __init__(self, daemon, program, directory, key=True):
        self.daemon, self.program, self.dir = daemon, program, pathlib.Path(directory)
        self.dir.mkdir(parents=True)
        self("remote", "list")   # both clients greet whoever has no configuration yet
        if key:
            certificate = make_certificate(self.dir / "made", "client")
            shutil.copy(certificate.crt, self.dir / "client.crt")
            shutil.copy(certificate.key, self.dir / "client.key")
            self.fingerprint = certificate.fingerprint

    def env(self, **more):
        return self.daemon.env(LXD_CONF=str(self.dir), TZ="UTC", **more)

    def __call__(self, *args, stdin="", code=0, program=None, **env):
        """Runs to its end; the exit code must be @code. Gives back (standard output, standard error)."""
        result = subprocess.run([str(program or self.program), *map(str, args)], env=self.env(**env), input=stdin, capture_output=True,
                                text=True, timeout=120)
        assert result.returncode == code, (args, result)
        return result.stdout, result.stderr

    def error(self, *args, **kwargs):
        """Standard error of a command that must fail."""
        return self(*args, code=1, **kwargs)[1]

    @property
    def config(self):
        path = self.dir / "config.yml"
        return path.read_text() if path.exists() else ""

    def pin(self, remote):
        return self.dir / "servercerts" / f"{remote}.crt"

    def forget(self):
        """As if it had never been used, but for its key pair."""
        shutil.rmtree(self.dir / "servercerts", ignore_errors=True)
        (self.dir / "config.yml").unlink(missing_ok=True)

    def terminal(self, *args, answers=(), code=0, timeout=60, **env):
        """Runs on a terminal; each of @answers (text to wait for, line to type) is given in turn. Gives back the screen."""
        pid, fd = pty.fork()
        if pid == 0:
            try:
                os.execve(self.program, [str(self.program), *map(str, args)], self.env(**env))
            finally:
                os._exit(127)
        screen, at, waiting = "", 0, list(answers)
        end = time.monotonic() + timeout
        while True:
            if waiting and waiting[0][0] in screen[at:]:
                at = len(screen)
                os.write(fd, (waiting.pop(0)[1] + "\n").encode())
            if not select.select([fd], [], [], max(0, end - time.monotonic()))[0]:
                raise AssertionError(f"no progress on the terminal: {screen!r}")
            try:
                data = os.read(fd, 4096)
            except OSError:
                break
            if not data:
                break
            screen += data.decode(errors="replace").replace("\r\n", "\n")
        os.close(fd)
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        assert status == code, (status, screen)
        return screen
