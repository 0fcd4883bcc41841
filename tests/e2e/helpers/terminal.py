"""A program on a terminal of its own: what it says is waited for, what is typed is typed when it asks."""
import fcntl
import os
import pty
import select
import subprocess
import termios
import time


def dialogue(command, steps, env, timeout=60):
    """
    Runs @command; @steps are (text to wait for, line to type). Gives back (exit status, all that was shown). The terminal echoes unless the
    program turns that off, so what is typed without echo is not in the text.
    """
    master, slave = pty.openpty()
    process = subprocess.Popen(command, env=env, stdin=slave, stdout=slave, stderr=slave, start_new_session=True)
    os.close(slave)
    shown, end = b"", time.monotonic() + timeout
    steps = list(steps)
    mark = 0
    try:
        while True:
            if steps and steps[0][0].encode() in shown[mark:]:
                mark = len(shown)
                text, answer = steps.pop(0)
                if "assword" in text or "Again" in text:
                    wait_for_no_echo(master, end)
                os.write(master, answer.encode() + b"\n")
            if not select.select([master], [], [], max(0, end - time.monotonic()))[0]:
                raise AssertionError(f"nothing more came: {shown!r}; waited for {steps}")
            try:
                data = os.read(master, 65536)
            except OSError:  # the last of them has closed it
                break
            if not data:
                break
            shown += data
        status = process.wait(max(1, end - time.monotonic()))
        assert not steps, f"never asked for: {steps}; shown: {shown!r}"
        return status, shown.decode().replace("\r\n", "\n")
    finally:
        os.close(master)
        if process.poll() is None:
            process.kill()
            process.wait()


class Terminal:
    """A program on a terminal, for conversations that are not lines: with raw keys, sizes, and a look at the terminal's modes."""

    def __init__(self, command, env, width=80, height=24):
        self.master, slave = pty.openpty()
        self.shown = b""
        self.resize(width, height)
        self.before = termios.tcgetattr(slave)
        # the controlling one, so that it hears of new sizes
        self.process = subprocess.Popen(command, env=env, stdin=slave, stdout=slave, stderr=slave, start_new_session=True,
                                        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0))
        self._slave = slave

    def resize(self, width, height):
        termios.tcsetwinsize(self.master, (height, width))

    def type(self, data):
        os.write(self.master, data)

    def wait_for(self, text, timeout=30):
        """Until @text has been shown; gives back all up to it, and forgets that."""
        end = time.monotonic() + timeout
        while text not in self.shown:
            left = max(0, end - time.monotonic())
            assert select.select([self.master], [], [], left)[0], f"{text!r} did not come: {self.shown!r}"
            self.shown += os.read(self.master, 65536)
        upto, _, self.shown = self.shown.partition(text)
        return upto + text

    def finish(self, timeout=30):
        """(exit status, what was shown and not waited for) once the program has ended; its terminal must be as it was before."""
        status = self.process.wait(timeout)
        while select.select([self.master], [], [], 0)[0]:
            self.shown += os.read(self.master, 65536)
        assert termios.tcgetattr(self._slave) == self.before, "the terminal was left in another mode"
        self.close()
        return status, self.shown

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self._slave)
        os.close(self.master)


def wait_for_no_echo(fd, end):
    """What is typed before the program has turned the echo off would be shown, or thrown away."""
    while termios.tcgetattr(fd)[3] & termios.ECHO:
        assert time.monotonic() < end, "a password is asked for with echo"
        time.sleep(0.01)
