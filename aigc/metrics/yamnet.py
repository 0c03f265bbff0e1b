"""YAMNet (Plakal & Ellis 2020; MobileNet of Howard et al. 2017), trained on AudioSet: features of
sounds."""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from aigc.metrics.efficientnet import pad_same
from aigc.metrics.features import EXTRACTORS
from aigc.metrics.pretrained import read

RATE, WINDOW, HOP, N_FFT = 16_000, 400, 160, 512
BANDS, LOW, HIGH = 64, 125.0, 7500.0
FRAMES, STEP = 96, 48  # frames of a patch, and from one patch to the next
LAYERS = 13
HALVES = (2, 4, 6, 12)  # layers that halve the patch


class YAMNet:
    """Features of the last layer averaged over patches of 0.96 s, 1,024 a sound."""

    source, modalities, id = "data", frozenset({"audio"}), "yamnet"
    file = "yamnet/yamnet_int8.safetensors"
    sha256 = "e6456a482738c56509735304112435fb741b04d041b260cf89b2870750b31b20"

    def __init__(self, path: Path, modality: str = "audio"):
        self.weights, self.sha = _scaled(read(path, self.sha256)), self.sha256[:6]

    @torch.no_grad()
    def __call__(self, sounds: list[tuple[np.ndarray, int]]) -> Tensor:
        """`(wave, rate)` each to `(n, 1024)`."""
        from torchaudio.functional import resample

        out = []
        for wave, rate in sounds:
            x = resample(torch.from_numpy(np.asarray(wave, np.float32)), rate, RATE)
            out.append(self.embed(patches(x)).mean(0))
        return torch.stack(out).double()

    def embed(self, x: Tensor) -> Tensor:
        """Patches `(p, 96, 64)` to `(p, 1024)`."""
        h = self._conv(x[:, None], "conv0", 2)
        for i in range(1, LAYERS + 1):
            stride = 2 if i in HALVES else 1
            h = self._conv(h, f"sep{i}.depth", stride, groups=h.shape[1])
            h = self._conv(h, f"sep{i}.point")
        return h.mean((2, 3))

    def _conv(self, x: Tensor, name: str, stride: int = 1, groups: int = 1) -> Tensor:
        weight, bias = self.weights[f"{name}.weight"], self.weights[f"{name}.bias"]
        x = pad_same(x, weight.shape[-1], stride)
        return F.relu6(F.conv2d(x, weight, bias, stride, groups=groups))


def _scaled(stored: dict[str, Tensor]) -> dict[str, Tensor]:
    """Weights that are stored as 8-bit numbers and a scale for each output."""
    out = {name: t for name, t in stored.items() if name.endswith(".bias")}
    for name, t in stored.items():
        if name.endswith(".weight_int8"):
            scale = stored[name.replace(".weight_int8", ".scale")]
            weight = t.float() * scale.view(-1, *[1] * (t.ndim - 1))
            out[name.replace("_int8", "")] = weight
    return out


def patches(wave: Tensor) -> Tensor:
    """A wave `(t,)` at 16 kHz to log mel patches `(p, 96, 64)`; a short one ends in silence."""
    least = WINDOW + (FRAMES - 1) * HOP
    wave = F.pad(wave, (0, max(0, least - len(wave))))
    frames = wave.unfold(0, WINDOW, HOP) * torch.hann_window(WINDOW)
    mel = torch.fft.rfft(frames, N_FFT).abs() @ mel_bands().to(wave)
    return (mel + 1e-3).log().unfold(0, FRAMES, STEP).transpose(1, 2)


def mel_bands() -> Tensor:
    """Triangles on the mel scale of HTK, `(257, 64)`; rising and falling lines are straight in
    mels."""

    def mel(hertz: Tensor) -> Tensor:
        return 1127 * (1 + hertz / 700).log()

    ends = mel(torch.tensor([LOW, HIGH], dtype=torch.float64))
    edges = torch.linspace(*ends.tolist(), BANDS + 2, dtype=torch.float64)
    bins = mel(torch.arange(N_FFT // 2 + 1, dtype=torch.float64) * RATE / N_FFT)[:, None]
    left, centre, right = edges[:-2], edges[1:-1], edges[2:]
    bands = torch.minimum((bins - left) / (centre - left), (right - bins) / (right - centre))
    bands[0] = 0  # no constant
    return bands.clamp(min=0).float()


EXTRACTORS.add("yamnet", YAMNet)
