"""What a user asks of a run, turned into what its model takes."""

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from torch import Tensor

from aigc.core import caption
from aigc.core.errors import BadInput, unknown

if TYPE_CHECKING:
    from aigc.lab.run import Run

Prompt = str | Tensor | Sequence[str | Tensor]


def condition(run: "Run", text: str) -> int | Tensor:
    """A class name as its number, a caption as its bytes."""
    space, names = run.dir.status["space"], run.dir.status["data"]["class_names"]
    if space["caption"]:
        return caption.encode([text], space["caption"])[0]
    if text not in names:
        raise unknown("class", text, names)
    return names.index(text)


def prompts(run: "Run", n: int, prompt: Prompt | None) -> list[Tensor] | None:
    """One beginning a sample, tokens `(t,)` of the view, from words or tokens for one or all."""
    if prompt is None:
        return None
    one = isinstance(prompt, str) or (isinstance(prompt, Tensor) and prompt.ndim == 1)
    each = [prompt] * n if one else list(prompt)
    if len(each) != n:
        raise BadInput(f"{len(each)} prompts for {n} samples: one for all, or one for each")
    return [run.codec.prompt(p) if isinstance(p, str) else p.long() for p in each]


def strategy(run: "Run", sampler: str | Any | None) -> Any:
    """A sampler by its name, or as it is; words that it names become tokens."""
    by_name = sampler is None or isinstance(sampler, str)
    sampler = run.sampler(sampler) if by_name else sampler
    if words := getattr(sampler, "words", None):
        tokens = [run.codec.words(w) if isinstance(w, str) else w for w in words]
        sampler = replace(sampler, words=tokens)
    return sampler
