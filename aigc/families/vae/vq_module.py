"""Autoencoders with discrete latents as a Lightning module."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from math import prod

import torch
from torch import Tensor, nn

from aigc.core.errors import BadInput, unknown
from aigc.core.rng import Rng
from aigc.families.base import GenerativeModule, Loss
from aigc.families.likelihoods import LIKELIHOODS, default_likelihood
from aigc.families.vae.vq_objective import VQ, Quantized, spectral_distance, usage
from aigc.families.vae.vq_sampling import Frequencies


class VQVAE(GenerativeModule):
    """Encodes to codes and decodes to a law over discretised data (van den Oord et al. 2017).

    A map encoder gives codes for each position, one that gives a vector for each of `places`
    equal parts of it. `commitment` holds the encoder to its codes, `spectral` weighs the distance
    of spectra, for sound. The networks see no labels.
    `nats` codes first the codes, by their frequency at each place, then the data: a bound, since
    other codes might give the same data.
    """

    roles = ("encoder", "decoder")
    provides = frozenset({"nats", "samples", "codes"})
    samplers = (Frequencies,)
    likelihood = "bound"
    mean_loss = False  # a codebook follows its batch

    def __init__(
        self,
        encoder: Callable[..., nn.Module],
        decoder: Callable[..., nn.Module],
        quantizer: nn.Module | None = None,
        places: int = 16,
        commitment: float = 0.25,
        spectral: float = 0.0,
        likelihood: str | None = None,
        **common,
    ):
        super().__init__(**common)
        spec = replace(self.view.spec, classes=0, caption=0)
        name = likelihood or default_likelihood(spec)
        if name not in LIKELIHOODS:
            raise unknown("likelihood for model.likelihood", name, LIKELIHOODS)
        if spectral and spec.rank != 1:
            raise BadInput(f"model.spectral={spectral}: for sound")
        if places < 1:
            raise BadInput(f"model.places={places}: at least 1")
        self.law, self.quantizer = LIKELIHOODS[name](spec), quantizer or VQ()
        dim = self.quantizer.dim
        self.encoder = encoder(spec, out=dim)
        self.map_shape = _shape(self.encoder, spec.shape)[1:]
        self.flat = not self.map_shape
        if self.flat:
            self.encoder, self.map_shape = encoder(spec, out=dim * places), (places,)
        first, *rest = spec.shape
        out = replace(spec, shape=(first * self.law.width, *rest))
        self.decoder = decoder(out, latent=dim * places if self.flat else dim)
        self.commitment, self.spectral = commitment, spectral
        length = prod(self.map_shape) * self.quantizer.depth
        self.register_buffer("counts", torch.zeros(length, self.quantizer.size))

    def encode(self, x: Tensor) -> Tensor:
        """Data of the view to codes `(B, T)`, those of one position side by side."""
        return self._quantize(x).codes.movedim(1, -1).flatten(1)

    def decode(self, codes: Tensor) -> Tensor:
        """Codes `(B, T)` to their most probable data, as the view gives them."""
        return self.law.mode(self._law_of(codes))

    def distortion(self, x: Tensor, codes: Tensor) -> Tensor:
        """`-log p(x | codes)`, `(B,)`."""
        return self.law.nats(x, self._law_of(codes))

    def loss(self, x: Tensor, y: Tensor | None) -> Loss:
        """`-log p(x | codes) / dims` and the commitment; the log shows whether codes collapse."""
        z, codes, commitment = self._quantize(x)
        out = self._decoded(z)
        reconstruction = self.law.nats(x, out).mean() / self.view.spec.dims
        value = reconstruction + self.commitment * commitment
        shown = self.law.mean(out)
        if self.spectral:
            value = value + self.spectral * spectral_distance(shown, x)
        perplexity, used = usage(codes, self.quantizer.size)
        logs = {
            "loss": value,
            "reconstruction": reconstruction,
            "commitment": commitment,
            "error": (shown - x).square().mean(),
            "perplexity": perplexity,
            "codes_used": used,
        }
        return Loss(value, {name: scalar.detach() for name, scalar in logs.items()})

    def nats(self, x: Tensor, y: Tensor | None) -> Tensor:
        """`-log p(codes) - log p(x | codes)`, `(B,)`; every code keeps some probability."""
        codes = self.encode(x)
        share = (self.counts + 0.5) / (self.counts + 0.5).sum(1, keepdim=True)
        code_nats = -share.log()[torch.arange(len(share), device=x.device), codes].sum(1)
        return code_nats + self.distortion(x, codes)

    def draw(self, n: int, y: Tensor | None, sampler: Frequencies, rng: Rng) -> Iterator[Tensor]:
        """One state: decoded codes."""
        yield self.decode(sampler(self.counts, rng))

    @torch.no_grad()
    def observe(self, ids: Tensor, y: Tensor | None) -> None:
        """Count the codes of training examples at each place."""
        self.counts.zero_()
        for part in ids.split(256):
            codes = self.encode(self.view.encode(part))
            self.counts.scatter_add_(1, codes.T, torch.ones_like(codes.T, dtype=torch.float))

    @property
    def sampled_net(self) -> nn.Module:
        """The decoder."""
        return self.decoder

    def _quantize(self, x: Tensor) -> Quantized:
        z = self.encoder(x)
        return self.quantizer(z.unflatten(1, (-1, *self.map_shape)) if self.flat else z)

    def _decoded(self, z: Tensor) -> Tensor:
        return self.decoder(z.flatten(1) if self.flat else z)

    def _law_of(self, codes: Tensor) -> Tensor:
        shape = (*self.map_shape, self.quantizer.depth)
        return self._decoded(self.quantizer.embed(codes.unflatten(1, shape).movedim(-1, 1)))


@torch.no_grad()
def _shape(encoder: nn.Module, shape: tuple[int, ...]) -> torch.Size:
    """What the encoder gives for one example."""
    training = encoder.training
    out = encoder.eval()(torch.zeros(1, *shape)).shape[1:]
    encoder.train(training)
    return out
