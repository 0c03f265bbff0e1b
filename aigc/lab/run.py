"""A finished run as an object: `aigc.load(DIR)`."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from omegaconf import OmegaConf
from safetensors.torch import load_model, save_model
from torch import Tensor

from aigc.core import caption
from aigc.core.errors import BadInput, unknown
from aigc.core.spec import Space
from aigc.data.store import Store
from aigc.families.base import GenerativeModule
from aigc.lab import build
from aigc.lab.conf import conf_dir, samplers_of
from aigc.modalities.base import Codec
from aigc.runs import RunDir


@dataclass(frozen=True)
class Samples:
    """Generated ids `(n, *shape)`, their labels, and the codec that shows them."""

    ids: Tensor
    y: Tensor | None
    codec: Codec

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def data(self) -> Any:
        """Decoded: an array of pictures, a list of texts or of (wave, rate), a data frame."""
        return self.codec.decode(self.ids)

    def save(self, folder: str | Path) -> Path:
        """Write `ids.npz` (ids, y) and the rendered files to `folder`."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        arrays = {"ids": self.ids.cpu().numpy()}
        if self.y is not None:
            arrays["y"] = self.y.cpu().numpy()
        np.savez_compressed(folder / "ids.npz", **arrays)
        self.codec.render(self.ids.cpu(), folder)
        return folder


class Run:
    """A finished run; the model is built and its weights read on first use."""

    def __init__(self, folder: RunDir, device: str | None = None):
        self.dir = folder
        self.config = folder.config
        self.device = device or ("cuda" if torch.cuda.is_available() else "cpu")
        build.plugins(self.config)

    @cached_property
    def codec(self) -> Codec:
        """The codec as it was fitted."""
        return build.codec(self.config).load(self.dir / "codec")

    @cached_property
    def model(self) -> GenerativeModule:
        """The trained model in evaluation mode."""
        space = Space(**_tuples(self.dir.status["space"]))
        model = build.model(self.config, space)
        load_model(model, self.dir / "checkpoints" / "model.safetensors")
        return model.eval().to(self.device)

    @cached_property
    def store(self) -> Store:
        """The data that the run was trained on, prepared again if need be."""
        return build.store(self.config)

    def sampler(self, name: str | None = None, **options: Any) -> Any:
        """A sampling strategy by the name of its configuration; default is the run's own."""
        return build.sampler(self.sampler_node(name, **options), self.config["model"]["name"])

    def sampler_node(self, name: str | None = None, **options: Any) -> dict[str, Any]:
        """The resolved configuration of `sampler`."""
        if name is None:
            return {**self.config["sampler"], **options}
        family = self.config["model"]["name"]
        file = conf_dir() / "sampler" / f"{name}.yaml"
        if not file.is_file():
            raise unknown("sampler", name, samplers_of(family))
        both = OmegaConf.create({"model": {"name": family}, "sampler": {}})
        both.sampler = OmegaConf.load(file)
        return {**OmegaConf.to_container(both.sampler, resolve=True), **options}

    def sample(
        self,
        n: int,
        seed: int = 0,
        y: int | str | Tensor | None = None,
        sampler: str | Any | None = None,
        batch_size: int = 256,
    ) -> Samples:
        """`n` samples; sample `i` depends on `(seed, i)` only.

        `y` is a label (number or class name) or a caption, `sampler` a name or an object.
        """
        if n < 1 or batch_size < 1:
            raise BadInput(f"n={n}, batch_size={batch_size}: at least 1")
        strategy = self.sampler(sampler) if sampler is None or isinstance(sampler, str) else sampler
        y = self._condition(y) if isinstance(y, str) else y
        ids, labels = self.model.sample(n, y, seed, strategy, batch_size)
        return Samples(ids.cpu(), None if labels is None else labels.cpu(), self.codec)

    def _condition(self, text: str) -> int | Tensor:
        """A class name as its number, a caption as its bytes."""
        space, names = self.dir.status["space"], self.dir.status["data"]["class_names"]
        if space.get("caption"):
            return caption.encode([text], space["caption"])[0]
        if text not in names:
            raise unknown("class", text, names)
        return names.index(text)


def load(folder: str | Path, device: str | None = None) -> Run:
    """Open the folder of a finished run; raises NotARun otherwise."""
    return Run(RunDir.finished(folder), device)


def save_weights(model: GenerativeModule, folder: Path) -> None:
    """Weights as safetensors: no code in them, whole or not at all."""
    part = folder / ".model.safetensors"
    save_model(model, str(part))
    part.replace(folder / "model.safetensors")


def _tuples(space: dict[str, Any]) -> dict[str, Any]:
    return {k: tuple(v) if isinstance(v, list) else v for k, v in space.items()}
