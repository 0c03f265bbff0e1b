"""A finished run as an object: `aigc.load(DIR)`."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from omegaconf import OmegaConf
from safetensors import SafetensorError
from safetensors.torch import load_model, save_model
from torch import Tensor

from aigc.analysis.load import Record
from aigc.core.errors import BadInput, unknown
from aigc.core.learned import LEARNED
from aigc.core.spec import Space
from aigc.data.store import Store
from aigc.families.base import GenerativeModule
from aigc.lab import build, ranks, request
from aigc.lab.check import check_origin
from aigc.lab.choices import files_of, samplers_of
from aigc.lab.editing import edited
from aigc.lab.request import Prompt
from aigc.modalities.base import Codec
from aigc.runs import NotARun, RunDir


@dataclass(frozen=True)
class Samples:
    """Generated ids `(n, *shape)`, their labels, and the codec that shows them."""

    ids: Tensor
    y: Tensor | None
    codec: Codec

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, rows: slice) -> "Samples":
        """Some of them."""
        return Samples(self.ids[rows], None if self.y is None else self.y[rows], self.codec)

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
        check_origin({**self.config, "nets": folder.status.get("nets")}, folder)

    @cached_property
    def codec(self) -> Codec:
        """The codec as it was fitted."""
        return build.codec(self.config).load(self.dir / "codec")

    @cached_property
    def model(self) -> GenerativeModule:
        """The trained model in evaluation mode."""
        space = Space(**_tuples(self.dir.status["space"]))
        nets = dict(self.config["net"])
        for role, options in self.dir.status.get("nets", {}).items():
            nets[role] = {**nets[role], **options}
        stage = None
        if self.config["view"] in LEARNED:
            stage = Run(RunDir(self.dir / "view"), self.device).model
        model = build.model({**self.config, "net": nets}, space, stage)
        file = self.dir / "checkpoints" / "model.safetensors"
        try:
            load_model(model, file)
        except SafetensorError as error:
            raise NotARun(f"{file} is damaged: {error}") from error
        return model.eval().to(self.device)

    @cached_property
    def store(self) -> Store:
        """The data that the run was trained on, prepared again if need be; BadInput if they are
        others now."""
        store = build.store(self.config)
        if store.meta["hash"] != self.dir.status["data"]["hash"]:
            raise BadInput(
                f"the data of {self.dir} have changed since it was trained: put them back, "
                "or train under another study=NAME"
            )
        return store

    @property
    def record(self) -> Record:
        """What its folder says: rows of results and references, learning curves, environment."""
        return Record(self.dir)

    def examples(self, n: int, split: str = "test") -> Samples:
        """At most `n` real examples of a split, drawn once and for all; `split` is train,
        validation or test."""
        if split not in (known := ("train", "validation", "test")):
            raise unknown("split", split, known)
        return Samples(*self.store.examples(split, n), self.codec)

    def sampler(self, name: str | None = None, **settings: Any) -> Any:
        """A sampling strategy by the name of its configuration; default is the run's own."""
        return self.strategy(self.sampler_node(name, **settings))

    def strategy(self, node: dict[str, Any]) -> Any:
        """A sampling strategy from its configuration; BadInput for one of another family."""
        return build.sampler(node, self.config["model"]["name"], load)

    def sampler_node(self, name: str | None = None, **settings: Any) -> dict[str, Any]:
        """The resolved configuration of `sampler`."""
        if name is None:
            return {**self.config["sampler"], **settings}
        family = self.config["model"]["name"]
        if name not in (files := files_of("sampler")):
            raise unknown("sampler", name, samplers_of(family))
        both = OmegaConf.create({"model": {"name": family}, "sampler": {}})
        both.sampler = OmegaConf.load(files[name])
        return {**OmegaConf.to_container(both.sampler, resolve=True), **settings}

    def edit_node(self, name: str) -> dict[str, Any]:
        """The configuration of an edit by its name."""
        if name not in (files := files_of("edit")):
            raise unknown("edit", name, files)
        return OmegaConf.to_container(OmegaConf.load(files[name]))

    def sample(
        self,
        n: int,
        seed: int = 0,
        y: int | str | Tensor | None = None,
        sampler: str | Any | None = None,
        batch_size: int = 256,
        prompt: Prompt | None = None,
        edit: str | dict[str, Any] | None = None,
        **options: Any,
    ) -> Samples:
        """`n` samples; sample `i` depends on `(seed, i)` only.

        `y` is a label (number or class name) or a caption, `sampler` a name or an object.
        `prompt` is how they begin, or one beginning a sample: words, or tokens `(t,)` of the view.
        `edit` (`inpaint`, `sdedit`, `interpolate`, `traverse`, with `options`) starts from given
        data or latents.
        """
        if n < 1 or batch_size < 1:
            raise BadInput(f"n={n}, batch_size={batch_size}: at least 1")
        strategy, prompts = request.strategy(self, sampler), request.prompts(self, n, prompt)
        y = request.condition(self, y) if isinstance(y, str) else y
        if edit:
            strategy, y = edited(self, edit, options, strategy, n, y, seed)
        elif options:
            raise BadInput(f"{', '.join(options)}: options of an edit, and none is chosen")
        draw = self.model.sample if ranks.alone() else partial(ranks.sample, self.model)
        ids, labels = draw(n, y, seed, strategy, batch_size=batch_size, prompts=prompts)
        return Samples(ids.cpu(), None if labels is None else labels.cpu(), self.codec)

    @torch.no_grad()
    def stream(
        self,
        prompt: str,
        seed: int = 0,
        sampler: str | Any | None = None,
        y: int | None = None,
    ) -> Iterator[str]:
        """The text of sample 0, `prompt` included, piece by piece as it is decoded."""
        if "prompts" not in self.model.provides:
            raise BadInput(f"a {self.model.name} does not go on from a prompt")
        shown, (first,) = "", request.prompts(self, 1, prompt)
        for ids in self.model.states(first, y, seed, request.strategy(self, sampler)):
            text = self.codec.decode(ids[None].cpu())[0].rstrip("\ufffd")  # half a letter
            if text.startswith(shown) and text != shown:
                yield text[len(shown) :]
                shown = text

    def export(self, folder: str | Path) -> Path:
        """Write a folder that the library which the network comes from loads; see lab/export."""
        from aigc.lab.export import export

        return export(self, folder)


def load(folder: str | Path, device: str | None = None, plugins: Sequence[str] = ()) -> Run:
    """Open the folder of a finished run; raises NotARun otherwise.

    `plugins` are modules of yours whose classes the run may name; BadInput where it names others.
    """
    build.plugins({"plugins": plugins})
    return Run(RunDir.finished(folder), device)


def save_weights(model: GenerativeModule, folder: Path) -> None:
    """Weights as safetensors: no code in them, whole or not at all."""
    part = folder / f".model.safetensors.part-{os.getpid()}"
    save_model(model, str(part))
    with part.open("rb+") as file:
        os.fsync(file.fileno())
    part.replace(folder / "model.safetensors")


def _tuples(space: dict[str, Any]) -> dict[str, Any]:
    return {k: tuple(v) if isinstance(v, list) else v for k, v in space.items()}
