"""The flows of test_remote.py with the existing Go client (Debian's lxd-client 5.0.2) against the daemon under test."""
import os

import pytest

from test_remote import *  # noqa: F401,F403  the same tests, with another program

GO_CLIENT = "/usr/bin/lxc"


@pytest.fixture(scope="module")
def program():
    if not os.path.exists(GO_CLIENT):
        pytest.skip("Debian's lxd-client is not installed")
    return GO_CLIENT
