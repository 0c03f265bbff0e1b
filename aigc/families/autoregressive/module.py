"""The autoregressive family as a Lightning module."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from aigc.core.errors import BadInput
from aigc.core.rng import Rng
from aigc.core.spec import completion
from aigc.families.autoregressive.objective import token_nats
from aigc.families.autoregressive.processed import Guided
from aigc.families.autoregressive.sampling import Pick, Request, Search, decode
from aigc.families.base import GenerativeModule, Loss, hide

PROMPTS = 256  # training prompts kept for samples that are given none


class Autoregressive(GenerativeModule):
    """Predicts each token from those before it; `causal_lm(spec)` builds the CausalLM role.

    With `label_dropout` that share of labels is hidden in training (one more class stands for
    "none"), so that samples can be guided (Ho & Salimans 2022).
    """

    needs = "tokens"
    roles = ("causal_lm",)
    provides = frozenset({"nats", "samples", "prompts"})
    samplers = (Pick, Search)
    likelihood = "exact"

    def __init__(self, causal_lm: Callable[..., nn.Module], label_dropout: float = 0.0, **common):
        super().__init__(**common)
        spec = self.view.spec
        if label_dropout and not spec.classes and not spec.caption:
            raise BadInput(f"model.label_dropout={label_dropout}: these data have no classes")
        self.label_dropout = label_dropout
        self.null = spec.classes or -1  # a class more, or the empty caption
        more = bool(label_dropout and spec.classes)
        self.net = causal_lm(replace(spec, classes=spec.classes + more))
        self.register_buffer("allowed", self.view.allowed, persistent=False)
        if self.end >= 0:  # beginnings for samples that are given none
            self.register_buffer("prompts", torch.zeros(PROMPTS, *spec.shape, dtype=torch.long))

    @property
    def rows(self) -> int:
        """As its network says; products of matrices want 4."""
        return getattr(self.net, "rows", 4)

    @property
    def end(self) -> int:
        """The token that closes a prompt and its completion, -1 where data are whole."""
        return getattr(self.view, "end", -1)

    def observe(self, ids: Tensor, y: Tensor | None) -> None:
        """Keep the prompts of some training examples."""
        if self.end >= 0:
            index = torch.arange(PROMPTS, device=ids.device) % len(ids)
            self.prompts.copy_(self.view.encode(ids[index]))

    def loss(self, x: Tensor, y: Tensor | None) -> Loss:
        """Mean nats a token that is to be predicted."""
        if self.training and self.label_dropout:
            y = hide(y, self.label_dropout, self.null)
        nats = token_nats(self.net, x, y, self.allowed, self.end)
        value = nats.sum() / self.mean_over(x)
        return Loss(value, {"loss": value.detach()})

    def mean_over(self, x: Tensor) -> Tensor:
        """Tokens that are to be predicted."""
        return completion(x, self.end).sum()

    def nats(self, x: Tensor, y: Tensor | None) -> Tensor:
        """`-log p(ids | y)`, or of the completion given its prompt, exact, `(B,)`."""
        return token_nats(self.net, x, y, self.allowed, self.end).sum(1)

    def draw(
        self,
        n: int,
        y: Tensor | None,
        sampler: Pick | Search,
        rng: Rng,
        prompts: Sequence[Tensor] | None = None,
    ) -> Iterator[Tensor]:
        """Growing sequences that begin with `prompts`, one `(t0,)` a sample; where data are pairs
        and none are given, with those of training examples.

        Prompts of one length are decoded together, so that there is no padding to depend on.
        """
        length = self.view.spec.shape[0]
        if prompts is None and self.end >= 0:
            prompts = self._training_prompts(rng)
        sizes = [0] * n if prompts is None else [len(prompt) for prompt in prompts]
        if max(sizes) >= length:
            raise BadInput(f"the prompt has {max(sizes)} tokens, the window {length}: no room")
        if len(set(sizes)) == 1:
            yield from self._decode(prompts and torch.stack(prompts), y, sampler, rng)
            return
        out = torch.zeros(n, length, dtype=torch.long, device=rng.device)
        for size in sorted(set(sizes)):
            rows = [i for i, own in enumerate(sizes) if own == size]
            padded = torch.tensor(rows + rows[:1] * (-len(rows) % self.rows), device=rng.device)
            prompt = torch.stack([prompts[i] for i in padded.tolist()])
            label = None if y is None else y[padded]
            *_, x = self._decode(prompt, label, sampler, rng.take(padded))
            out[rows] = x[: len(rows)]
        yield out

    @torch.no_grad()
    def states(
        self, prompt: Tensor, y: int | None, seed: int, sampler: Pick | Search
    ) -> Iterator[Tensor]:
        """The states `(t,)` of sample 0 that begins with `prompt (t0,)`, on its way."""
        n = self.rows
        rng = Rng(seed, torch.arange(n, device=self.device))
        labels = self._labels(1, y, seed, 0)
        labels = None if labels is None else labels.expand(n)
        prompts = [prompt.to(self.device)] * n
        yield from (x[0] for x in self.draw(n, labels, sampler, rng, prompts))

    def _decode(
        self, prompt: Tensor | None, y: Tensor | None, sampler: Pick | Search, rng: Rng
    ) -> Iterator[Tensor]:
        net, length = self.net, self.view.spec.shape[0]
        if (scale := getattr(sampler, "guidance", 1.0)) != 1.0:
            net = self._guided(scale)
        request = Request(net, len(rng), length, y, self.allowed, prompt, self.end)
        if isinstance(sampler, Search):
            yield from sampler.search(request, rng)
        else:
            yield from decode(request, sampler, rng)

    def _training_prompts(self, rng: Rng) -> list[Tensor]:
        rows = self.prompts[rng.categorical(torch.ones(PROMPTS, device=rng.device))]
        sizes = (rows == self.end).int().argmax(1) + 1
        return [row[:size] for row, size in zip(rows, sizes.tolist())]

    def _guided(self, scale: float) -> Guided:
        if not self.label_dropout:
            raise BadInput(
                f"sampler.guidance={scale} needs a model that was trained without labels too: "
                "model.label_dropout=0.1 on data with classes"
            )
        return Guided(self.net, self.null, scale)

    @property
    def sampled_net(self) -> nn.Module:
        """The CausalLM: a call a token."""
        return self.net
