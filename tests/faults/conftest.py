"""One warm server for all fault tests of a session; they are for `pytest -m fault`."""

from pathlib import Path

import pytest
from forked import Server


@pytest.fixture(scope="session")
def server(folders) -> Server:
    """Where children fork from."""
    return Server()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Minutes of processes that are killed: not with the other tests."""
    for item in items:
        if item.path.parent == Path(__file__).parent:
            item.add_marker(pytest.mark.slow)
