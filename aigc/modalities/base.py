"""A codec: raw data of one modality to integers and back, and the spaces in which distances are
taken."""

import json
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, ClassVar, Self

from torch import Tensor

from aigc.core.errors import BadInput
from aigc.core.spec import Space


class TooShort(BadInput):
    """Raw data that give not one example."""


class Codec(ABC):
    """Raw data to `ids (B, *space.shape)` and back.

    A codec defines the outcome space that all families share (alphabet, pixel levels, the bins of a
    column), so `fit` may look at every split: it fixes what is predicted, not how.
    """

    modality: ClassVar[str]
    space: Space

    @abstractmethod
    def fit(self, parts: list[Any]) -> Self:
        """Learn shapes and alphabets from the raw data of all splits; sets `space` (classes 0)."""

    @abstractmethod
    def encode(self, raw: Any) -> Tensor:
        """Raw data to ids `(B, *shape)`, int64."""

    @abstractmethod
    def decode(self, ids: Tensor) -> Any:
        """Ids to raw data."""

    @abstractmethod
    def field(self, ids: Tensor) -> Tensor:
        """Ids to floats `(B, C, *S)` of order one: what a random convolution looks at."""

    def features(self, ids: Tensor) -> Tensor:
        """Ids to `(B, d)`: the default space of the distance metrics."""
        return self.field(ids).flatten(1)

    def prompt(self, text: str) -> Tensor:
        """The first ids `(t,)` of an example that begins with `text`; BadInput where none can."""
        raise BadInput(f"{self.modality} does not begin with words: give the prompt as ids")

    def nbytes(self, ids: Tensor) -> Tensor | None:
        """Bytes of raw text in each example `(B,)`; None where likelihood is counted per
        dimension."""
        return None

    @abstractmethod
    def render(self, ids: Tensor, folder: Path) -> list[Path]:
        """Write the examples as files that people can look at or listen to; `folder` exists."""

    def export(self, folder: Path) -> None:
        """Write to `folder` what another library needs to read these ids: nothing, for most."""
        folder.mkdir(parents=True, exist_ok=True)

    @abstractmethod
    def state(self) -> dict[str, Any]:
        """What `fit` learned, as plain JSON."""

    @abstractmethod
    def restore(self, state: dict[str, Any]) -> Self:
        """The inverse of `state`."""

    def save(self, folder: Path) -> None:
        """Write what was fitted to `folder/codec.json`."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "codec.json").write_text(json.dumps(self.state()))

    def load(self, folder: Path) -> Self:
        """Read `folder/codec.json`."""
        file = folder / "codec.json"
        try:
            return self.restore(json.loads(file.read_text()))
        except (OSError, ValueError, KeyError) as error:
            raise BadInput(
                f"{file} is not the state of a {self.modality} codec: {error}"
            ) from error
