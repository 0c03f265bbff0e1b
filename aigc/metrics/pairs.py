"""How well a model gives back what it is given: pictures and sounds beside their
reconstructions."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from aigc.metrics.registry import Evidence, Undefined, Value, metric

IMAGE = {"needs": {"pairs"}, "modalities": frozenset({"image"}), "axis": "fidelity"}
IMAGE |= {"cost": "model", "shown": False, "stat": "mean"}
AUDIO = {**IMAGE, "modalities": frozenset({"audio"})}
MS_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)  # Wang et al. 2003


def psnr(a: Tensor, b: Tensor) -> Tensor:
    """Peak signal to noise of each picture in [0, 1], in dB, `(n,)`."""
    return -10 * (a - b).square().flatten(1).mean(1).log10()


def ssim(a: Tensor, b: Tensor, size: int = 11, sigma: float = 1.5) -> tuple[Tensor, Tensor]:
    """Structural similarity of each channel of pictures in [0, 1] and its contrast part, `(n, C)`
    (Wang et al. 2004, equation 13), where the Gaussian window lies inside."""
    if min(a.shape[2:]) < size:
        raise Undefined(f"pictures smaller than the window of {size} pixels")
    line = torch.arange(size, dtype=a.dtype, device=a.device) - size // 2
    line = (-line.square() / (2 * sigma**2)).exp()
    window = torch.outer(line, line)[None, None] / line.sum() ** 2

    def blur(x: Tensor) -> Tensor:
        return F.conv2d(x.flatten(0, 1)[:, None], window)[:, 0].unflatten(0, x.shape[:2])

    mean_a, mean_b = blur(a), blur(b)
    var_a, var_b = blur(a * a) - mean_a**2, blur(b * b) - mean_b**2
    c1, c2 = 0.01**2, 0.03**2
    contrast = (2 * (blur(a * b) - mean_a * mean_b) + c2) / (var_a + var_b + c2)
    light = (2 * mean_a * mean_b + c1) / (mean_a**2 + mean_b**2 + c1)
    return (light * contrast).mean((2, 3)), contrast.mean((2, 3))


def ms_ssim(a: Tensor, b: Tensor) -> Tensor:
    """The same over five scales `(n,)` (Wang et al. 2003), each half the one before."""
    if min(a.shape[2:]) <= 160:
        raise Undefined("pictures of at most 160 pixels: too small for five scales")
    product = 1.0
    for i, weight in enumerate(MS_WEIGHTS):
        whole, contrast = ssim(a, b)
        part = whole if i + 1 == len(MS_WEIGHTS) else contrast
        product = product * part.relu() ** weight
        a, b = (F.avg_pool2d(x, 2, padding=[s % 2 for s in x.shape[2:]]) for x in (a, b))
    return product.mean(1)


def snr(original: Tensor, rebuilt: Tensor) -> Tensor:
    """Signal to noise of each wave in dB, `(n,)`."""
    noise = (rebuilt - original).square().sum(1)
    return 10 * (original.square().sum(1) / noise).log10()


def si_sdr(original: Tensor, rebuilt: Tensor) -> Tensor:
    """The same with the original scaled to fit best (Le Roux et al. 2019, equation 5)."""
    scale = (original * rebuilt).sum(1) / original.square().sum(1)
    return snr(scale[:, None] * original, rebuilt)


def mr_stft(original: Tensor, rebuilt: Tensor) -> Tensor:
    """Spectral convergence plus the gap of log magnitudes, over three resolutions, `(n,)`
    (Yamamoto et al. 2020, equations 2 to 6); windows longer than the waves are left out."""
    values = []
    for n_fft, hop, window in ((1024, 120, 600), (2048, 240, 1200), (512, 50, 240)):
        if n_fft // 2 < original.shape[1]:
            a, b = (_magnitudes(x, n_fft, hop, window) for x in (original, rebuilt))
            norms = torch.linalg.matrix_norm(a - b) / torch.linalg.matrix_norm(a)
            values.append(norms + (a.log() - b.log()).abs().mean((1, 2)))
    if not values:
        raise Undefined("waves of at most 256 samples")
    return torch.stack(values).mean(0)


def _magnitudes(x: Tensor, n_fft: int, hop: int, window: int) -> Tensor:
    shape = torch.hann_window(window, dtype=x.dtype, device=x.device)
    spectrum = torch.stft(x, n_fft, hop, window, shape, return_complex=True)
    return torch.view_as_real(spectrum).square().sum(-1).clamp(min=1e-8).sqrt()


def log_mel(original: Tensor, rebuilt: Tensor, rate: int) -> Tensor:
    """Mean gap of log mel powers of each wave `(n,)`: 64 bands, windows of 1,024 samples."""
    from torchaudio.transforms import MelSpectrogram

    n_fft = min(1024, 2 ** (original.shape[1].bit_length() - 1))
    bands = min(64, n_fft // 16)
    mel = MelSpectrogram(rate, n_fft, hop_length=n_fft // 4, n_mels=bands).to(original)
    a, b = (mel(x).clamp(min=1e-5).log() for x in (original, rebuilt))
    return (a - b).abs().mean((1, 2))


def _mean(values: Tensor) -> Value:
    """Mean over the pairs and its standard error."""
    values = values.double()
    error = float(values.std() / len(values) ** 0.5) if len(values) > 1 else None
    return Value(float(values.mean()), error)


def _register(name: str, about: str, better: str, value: Callable[..., Tensor], facts) -> None:
    def scored(evidence: Evidence) -> Value:
        return _mean(value(evidence.pairs))

    scored.__doc__ = about
    metric(name, **facts, better=better)(scored)


for _name, _better, _value, _facts, _about in (
    ("psnr", "high", lambda p: psnr(*p[:2]), IMAGE, "Peak signal to noise of reconstructions, dB."),
    (
        "ssim",
        "high",
        lambda p: ssim(*p[:2])[0].mean(1),
        IMAGE,
        "Structural similarity of reconstructions.",
    ),
    ("ms_ssim", "high", lambda p: ms_ssim(*p[:2]), IMAGE, "The same over five scales."),
    ("snr", "high", lambda p: snr(*p[:2]), AUDIO, "Signal to noise of reconstructions, dB."),
    ("si_sdr", "high", lambda p: si_sdr(*p[:2]), AUDIO, "The same whatever the loudness, dB."),
    ("mr_stft", "low", lambda p: mr_stft(*p[:2]), AUDIO, "Gap of spectra at three resolutions."),
    ("log_mel", "low", lambda p: log_mel(*p), AUDIO, "Gap of log mel spectra of reconstructions."),
):
    _register(_name, _about, _better, _value, _facts)


@metric("lpips", **{**IMAGE, "needs": {"perceived"}}, better="low")
def lpips(evidence: Evidence) -> Value:
    """Perceptual distance of reconstructions by AlexNet features (Zhang et al. 2018)."""
    return _mean(evidence.perceived)
