"""Sound: mono waveforms at a fixed rate, length and loudness, as mu-law or linear samples."""

from collections.abc import Sequence
from math import gcd
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import torch
from torch import Tensor

from aigc.core.errors import BadInput
from aigc.core.spec import Space
from aigc.modalities.base import Codec

Sound = tuple[np.ndarray, int]  # mono samples in [-1, 1] and the rate in Hz


class AudioCodec(Codec):
    """Sounds to ids `(N, 1, length)`.

    `rate` is in Hz, `length` in samples; longer sounds are cut, shorter ones padded with
    silence. `loudness` fixes what the distances would otherwise measure: `peak` scales to -1
    dBFS, `rms` to -20 dBFS, `none` leaves it. `encoding` is `mulaw` (ITU-T G.711's curve, mu =
    levels - 1) or `linear` with 256 or 65536 levels.
    """

    modality = "audio"

    def __init__(
        self,
        rate: int = 4000,
        length: int = 1024,
        encoding: Literal["mulaw", "linear"] = "mulaw",
        levels: int = 256,
        loudness: Literal["peak", "rms", "none"] = "peak",
    ):
        if encoding not in ("mulaw", "linear"):
            raise BadInput(f"modality.codec.encoding={encoding}: choose from linear, mulaw")
        if loudness not in ("peak", "rms", "none"):
            raise BadInput(f"modality.codec.loudness={loudness}: choose from none, peak, rms")
        self.rate, self.length = rate, length
        self.encoding, self.levels, self.loudness = encoding, levels, loudness
        self.space = Space((1, length), levels)

    def fit(self, parts: list[Sequence[Sound]]) -> Self:
        """Nothing to learn: the configuration says it all."""
        return self

    def encode(self, raw: Sequence[Sound]) -> Tensor:
        """Sounds of any rate and length to ids."""
        waves = np.stack([self._prepare(*sound) for sound in raw])
        return self.quantize(torch.from_numpy(waves))

    def quantize(self, waves: Tensor) -> Tensor:
        """Waveforms `(B, length)` to ids: the inverse of `waves` up to rounding."""
        x = waves[:, None].clamp(-1, 1)
        if self.encoding == "mulaw":
            mu = self.levels - 1
            x = x.sign() * torch.log1p(mu * x.abs()) / np.log1p(mu)
        return ((x + 1) * ((self.levels - 1) / 2)).round().clamp(0, self.levels - 1).long()

    def decode(self, ids: Tensor) -> list[Sound]:
        """Ids to sounds at `rate`."""
        return [(wave, self.rate) for wave in self.waves(ids).cpu().numpy()]

    def waves(self, ids: Tensor) -> Tensor:
        """Ids to waveforms `(B, length)` in [-1, 1]."""
        x = ids[:, 0].float() * (2 / (self.levels - 1)) - 1
        if self.encoding == "mulaw":
            mu = self.levels - 1
            x = x.sign() * torch.expm1(x.abs() * np.log1p(mu)) / mu
        return x

    def field(self, ids: Tensor) -> Tensor:
        """Log-magnitude spectrogram `(B, frequencies, frames)`: two phases of one note are
        close."""
        wave = self.waves(ids)
        n_fft = min(128, self.length)
        window = torch.hann_window(n_fft, device=wave.device)
        spectrum = torch.stft(wave, n_fft, n_fft // 2, window=window, return_complex=True)
        return (spectrum.abs() + 1e-2).log() / 4

    def render(self, ids: Tensor, folder: Path) -> list[Path]:
        """One WAV a sound, at most 16, and a PNG of all spectrograms."""
        import soundfile
        from PIL import Image

        from aigc.modalities.image import picture_grid

        paths = []
        for i, (wave, rate) in enumerate(self.decode(ids[:16])):
            paths.append(folder / f"{i:02d}.wav")
            soundfile.write(paths[-1], wave, rate, subtype="PCM_16")
        paths.append(folder / "grid.png")
        Image.fromarray(picture_grid(self.pictures(ids), gap=2)).save(paths[-1])
        return paths

    def state(self) -> dict[str, Any]:
        """Nothing beyond the configuration."""
        return {}

    def restore(self, state: dict[str, Any]) -> Self:
        """The inverse of `state`."""
        return self

    def _prepare(self, wave: np.ndarray, rate: int) -> np.ndarray:
        from scipy.signal import resample_poly

        wave = np.asarray(wave, np.float64)
        if rate != self.rate:
            common = gcd(rate, self.rate)
            wave = resample_poly(wave, self.rate // common, rate // common)
        wave = np.pad(wave[: self.length], (0, max(0, self.length - len(wave))))
        level = {
            "peak": np.abs(wave).max() / 10 ** (-1 / 20),
            "rms": np.sqrt(np.mean(wave**2)) / 10 ** (-20 / 20),
            "none": 1.0,
        }[self.loudness]
        return np.clip(wave / max(level, 1e-5), -1, 1).astype(np.float32)

    def pictures(self, ids: Tensor) -> np.ndarray:
        """Spectrograms in colour, `uint8 (N, H, W, 3)`."""
        from matplotlib import colormaps

        spectra = self.field(ids).cpu().numpy()[:, ::-1]
        scaled = np.clip((spectra - np.log(1e-2) / 4) / 2.2, 0, 1)
        return (colormaps["magma"](scaled)[..., :3] * 255).astype(np.uint8).repeat(2, axis=2)
