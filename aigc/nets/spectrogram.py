"""Sound by its short-time spectrum: a generator that ends in an inverse transform, and a critic
that begins with a transform."""

from dataclasses import replace
from math import pi

import torch
from torch import Tensor, nn

from aigc.core.errors import BadInput
from aigc.core.spec import Spec
from aigc.nets.conv import ConvDecoder, ConvEncoder


class Spectrum(nn.Module):
    """The short-time Fourier transform of `(B, C, T)` with a Hann window, and its inverse."""

    def __init__(self, spec: Spec, n_fft: int):
        super().__init__()
        if spec.rank != 1:
            raise BadInput("a spectrogram network needs sound: one axis of time")
        if n_fft < 4 or n_fft % 4:
            raise BadInput(f"n_fft={n_fft}: a multiple of 4")
        self.channels, self.length = spec.shape
        self.n_fft, self.hop = n_fft, n_fft // 4
        self.register_buffer("window", torch.hann_window(n_fft), persistent=False)
        # Channels of the spectrum's two parts, and frames.
        self.shape = (2 * self.channels * (n_fft // 2 + 1), self.length // self.hop + 1)

    def forward(self, x: Tensor) -> Tensor:
        """`(B, C, T)` to complex `(B, C, frequencies, frames)`."""
        spectrum = torch.stft(
            x.flatten(0, 1).float(), self.n_fft, self.hop, window=self.window, return_complex=True,
            pad_mode="constant",
        )  # fmt: skip
        return spectrum.unflatten(0, (-1, self.channels))

    def inverse(self, spectrum: Tensor) -> Tensor:
        """Complex `(B, C, frequencies, frames)` to `(B, C, T)`."""
        parts = spectrum.flatten(0, 1)
        wave = torch.istft(parts, self.n_fft, self.hop, window=self.window, length=self.length)
        return wave.unflatten(0, (-1, self.channels))


class SpectrogramDecoder(nn.Module):
    """Decoder role: a convolutional decoder over frames gives log-magnitude and phase, an inverse
    transform the wave (Siuzdak 2024, Vocos). Suits linear samples better than mu-law ones."""

    def __init__(self, spec: Spec, latent: int, width: int = 32, depth: int = 1, n_fft: int = 64):
        super().__init__()
        self.spectrum = Spectrum(spec, n_fft)
        self.body = ConvDecoder(replace(spec, shape=self.spectrum.shape), latent, width, depth)

    def forward(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        """`z (B, latent)`, `y (B,)` to `(B, C, T)`."""
        return self.head(self.body(z, y))

    def head(self, h: Tensor) -> Tensor:
        """`(B, 2 C F, frames)` to a wave: the log of the magnitude, and the phase in half turns."""
        log_magnitude, phase = h.float().unflatten(1, (2, self.spectrum.channels, -1)).unbind(1)
        magnitude = log_magnitude.clamp(max=5.0).exp()  # Vocos: no overflow early in training
        return self.spectrum.inverse(torch.polar(magnitude, pi * phase))


class SpectrogramEncoder(nn.Module):
    """Encoder role: a convolutional encoder over the frames of the transform, its size compressed
    by a logarithm and its phase kept."""

    def __init__(self, spec: Spec, out: int, width: int = 32, depth: int = 1, n_fft: int = 64):
        super().__init__()
        self.spectrum = Spectrum(spec, n_fft)
        self.body = ConvEncoder(replace(spec, shape=self.spectrum.shape), out, width, depth)

    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """`x (B, C, T)`, `y (B,)` to `(B, out)`."""
        parts = torch.view_as_real(self.spectrum(x)).movedim(-1, 1).flatten(1, 3)
        return self.body(parts.sign() * parts.abs().log1p(), y)
