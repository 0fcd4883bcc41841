"""Every command of the client explains itself, in both ways of asking. Needs no daemon."""
import os
import re
import subprocess

import pytest

from helpers.daemon import BIN

# Commands that the project's documents promise.
PROMISED = """launch init list info start stop restart pause delete rename copy move exec console query monitor version
config\tget config\tset config\tunset config\tshow config\tedit config\tdevice\tadd config\tdevice\tremove
config\tdevice\tset config\tdevice\tget config\tdevice\tshow config\tdevice\tlist config\tdevice\tunset config\tdevice\toverride
network\tcreate network\tlist network\tshow network\tedit network\tget network\tset network\tunset network\tinfo network\tlist-leases
network\tattach network\tdetach network\tattach-profile network\tdetach-profile network\trename network\tdelete
profile\tdevice\tadd profile\tdevice\tremove profile\tdevice\tset profile\tdevice\tunset profile\tdevice\tget profile\tdevice\tlist profile\tdevice\tshow
profile\tlist profile\tcreate profile\tdelete profile\tshow profile\tedit profile\tget profile\tset profile\tunset
profile\tadd profile\tremove profile\tassign profile\tcopy profile\trename
image\timport image\tlist image\tinfo image\tshow image\texport image\tdelete image\tedit
image\talias\tcreate image\talias\tdelete image\talias\tlist image\talias\trename
storage\tlist storage\tcreate storage\tdelete storage\tshow storage\tinfo storage\tget storage\tset storage\tunset storage\tedit
operation\tlist operation\tshow operation\tdelete""".split("\n")


@pytest.fixture
def help_of(tmp_path):
    def run(*args):
        env = {**os.environ, "HOME": str(tmp_path), "LXD_DIR": str(tmp_path / "no-daemon")}
        return subprocess.run([BIN / "lxc", *args], env=env, text=True, capture_output=True, check=False, timeout=20)

    return run


def children(text):
    """Names in the list of a group's help."""
    found = re.search(r"^Available Commands:\n((?:  .+\n)+)", text, re.M)
    return [line.split()[0] for line in found[1].splitlines()] if found else []


def walk(help_of, path=()):
    """Each command's words and its help."""
    result = help_of(*path, "--help", "--all")
    yield path, result
    for name in children(result.stdout):
        yield from walk(help_of, (*path, name))


def test_help_of_the_whole_table(help_of):
    seen = set()
    for path, result in walk(help_of):
        words = " ".join(("lxc", *path))
        assert (result.returncode, result.stderr) == (0, ""), words
        assert re.search(rf"^Usage:\n  {re.escape(words)}\b", result.stdout, re.M), words
        description = result.stdout.split("\n")[1].strip()
        assert result.stdout.startswith("Description:\n") and len(description) > 5, words
        seen.add("\t".join(path))
    promised = {name for line in PROMISED for name in line.split(" ")}
    assert promised <= seen, sorted(promised - seen)


def test_help_as_a_command(help_of):
    for path in (("config",), ("config", "set"), ("image", "alias", "create"), ("exec",)):
        asked = help_of("help", *path)
        assert asked.returncode == 0 and asked.stdout == help_of(*path, "--help").stdout
    assert 'unknown command "nope"' in help_of("help", "nope").stderr
