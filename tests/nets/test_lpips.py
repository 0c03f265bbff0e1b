"""LPIPS against torchvision's AlexNet with the same weights."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torchvision.models import alexnet

from aigc.core.errors import BadInput
from aigc.nets.lpips import LPIPS


def test_the_distance_is_that_of_alexnet(tmp_path: Path):
    torch.manual_seed(0)
    layers = alexnet(weights=None).features
    convs = [layer for layer in layers if isinstance(layer, torch.nn.Conv2d)]
    weights = {f"lins.{i}": torch.rand(1, c.out_channels, 1, 1) for i, c in enumerate(convs)}
    for i, c in enumerate(convs):
        weights |= {f"convs.{i}.weight": c.weight.detach(), f"convs.{i}.bias": c.bias.detach()}
    save_file(weights, tmp_path / "w.safetensors")
    a, b = torch.rand(2, 2, 3, 64, 80) * 2 - 1
    mean = torch.tensor([0.485, 0.456, 0.406])[:, None, None]
    sd = torch.tensor([0.229, 0.224, 0.225])[:, None, None]

    def features(x):
        x, out = ((x + 1) / 2 - mean) / sd, []
        for layer in layers:
            x = layer(x)
            if isinstance(layer, torch.nn.ReLU):
                out.append(torch.nn.functional.normalize(x, dim=1))
        return out

    with torch.no_grad():
        wanted = sum(
            ((p - q) ** 2 * weights[f"lins.{i}"]).sum(1).mean((1, 2))
            for i, (p, q) in enumerate(zip(features(a), features(b)))
        )
    lpips = LPIPS(str(tmp_path / "w.safetensors"), weight=2.0)
    assert torch.allclose(lpips.distance(a, b), wanted, rtol=1e-3)
    assert lpips(a, b).item() == pytest.approx(2 * wanted.mean().item(), rel=1e-3)
    grey = torch.rand(2, 1, 28, 28, requires_grad=True)
    lpips(torch.zeros(2, 1, 28, 28), grey).backward()
    assert grey.grad.abs().sum() > 0
    with pytest.raises(BadInput, match=r"model\.perceptual\.file"):
        LPIPS("nowhere")(a, b)
