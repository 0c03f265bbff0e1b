"""Names are unique, and a wrong one gets the nearest match."""

import pytest

from aigc.core.errors import BadInput
from aigc.core.registry import Registry


def test_registry():
    registry: Registry[int] = Registry("thing")
    registry.add("first", 1)
    registry.add("second", 2)
    assert list(registry) == ["first", "second"]
    assert registry["second"] == 2
    with pytest.raises(BadInput, match="twice"):
        registry.add("first", 3)
    with pytest.raises(BadInput, match=r"unknown thing 'secnd'.*did you mean 'second'"):
        registry["secnd"]
