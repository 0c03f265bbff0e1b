"""A finished run as an object: `aigc.load(DIR)`."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from omegaconf import OmegaConf
from safetensors.torch import load_model, save_model
from torch import Tensor

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
        nets = dict(self.config["net"])
        for role, options in self.dir.status.get("nets", {}).items():
            nets[role] = {**nets[role], **options}
        model = build.model({**self.config, "net": nets}, space)
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
        y: int | Tensor | None = None,
        sampler: str | Any | None = None,
        batch_size: int = 256,
        prompt: str | Tensor | Sequence[str | Tensor] | None = None,
    ) -> Samples:
        """`n` samples; sample `i` depends on `(seed, i)` only. `sampler` is a name or an object.

        `prompt` is how they begin, or one beginning a sample: words, or tokens `(t,)` of the view.
        """
        if n < 1 or batch_size < 1:
            raise BadInput(f"n={n}, batch_size={batch_size}: at least 1")
        strategy, prompts = self._strategy(sampler), self._prompts(n, prompt)
        ids, labels = self.model.sample(n, y, seed, strategy, batch_size, prompts=prompts)
        return Samples(ids.cpu(), None if labels is None else labels.cpu(), self.codec)

    def export(self, folder: str | Path) -> Path:
        """The network and the tokenizer in the format of the library they come from."""
        nets = [net for net in self.model.children() if hasattr(net, "save_pretrained")]
        if not nets:
            raise BadInput("this run's network is of no library's format: net/causal_lm=hf or gpt2")
        nets[0].save_pretrained(folder)
        self.codec.export(Path(folder))
        return Path(folder)

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
        shown, (first,) = "", self._prompts(1, prompt)
        for ids in self.model.states(first, y, seed, self._strategy(sampler)):
            text = self.codec.decode(ids[None].cpu())[0].rstrip("\ufffd")  # half a letter
            if text.startswith(shown) and text != shown:
                yield text[len(shown) :]
                shown = text

    def _prompts(self, n: int, prompt: Any) -> list[Tensor] | None:
        if prompt is None:
            return None
        one = isinstance(prompt, str) or (isinstance(prompt, Tensor) and prompt.ndim == 1)
        each = [prompt] * n if one else list(prompt)
        if len(each) != n:
            raise BadInput(f"{len(each)} prompts for {n} samples: one for all, or one for each")
        return [self.codec.prompt(p) if isinstance(p, str) else p.long() for p in each]

    def _strategy(self, sampler: str | Any | None) -> Any:
        """The sampler; words that it names become tokens, and the folder of a draft its network."""
        by_name = sampler is None or isinstance(sampler, str)
        strategy = self.sampler(sampler) if by_name else sampler
        if words := getattr(strategy, "words", None):
            tokens = [self.codec.words(w) if isinstance(w, str) else w for w in words]
            strategy = replace(strategy, words=tokens)
        if isinstance(getattr(strategy, "draft", None), str):
            strategy = replace(strategy, draft=load(strategy.draft, self.device).model.net)
        return strategy


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
