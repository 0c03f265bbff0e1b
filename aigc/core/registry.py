"""A registry is for names that carry facts (a metric's direction, a data set's licence); see
README."""

from collections.abc import Iterator
from typing import Generic, TypeVar

from aigc.core.errors import BadInput, unknown

T = TypeVar("T")


class Registry(Generic[T]):
    """Names in order of registration; a second use of a name and an unknown name are errors."""

    def __init__(self, kind: str):
        self.kind = kind
        self._items: dict[str, T] = {}

    def add(self, name: str, item: T) -> None:
        """Register `item`; raises BadInput when the name is taken."""
        if name in self._items:
            raise BadInput(f"{self.kind} '{name}' is registered twice")
        self._items[name] = item

    def __getitem__(self, name: str) -> T:
        """The item; raises BadInput naming the nearest match."""
        if name not in self._items:
            raise unknown(self.kind, name, self._items)
        return self._items[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)

    def values(self) -> Iterator[T]:
        """The items in order of registration."""
        return iter(self._items.values())
