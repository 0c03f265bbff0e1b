"""One warm server for all fault tests of a session."""

import pytest
from forked import Server


@pytest.fixture(scope="session")
def server(folders) -> Server:
    """Where children fork from."""
    return Server()
