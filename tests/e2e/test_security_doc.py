"""doc/security.md names tests: they are there. Needs no daemon."""
import re

from helpers.daemon import TOP


def test_the_tests_that_hold_a_class_are_there():
    text = (TOP / "doc" / "security.md").read_text()
    named = re.findall(r"`(test_\w+\.py)(?:::(test_\w+))?`", text)
    assert len(named) > 15
    for file, function in named:
        source = (TOP / "tests" / "e2e" / file).read_text()
        assert not function or f"\ndef {function}(" in source, (file, function)
    rows = re.findall(r"^\| ([A-Z]) \|", text, re.M)
    assert rows == ["Z", "O", "T", "S"]
