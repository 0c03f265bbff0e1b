"""The denoisers of diffusers in the Denoiser role: for pictures, built from the spec or read from
a folder that diffusers wrote."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from aigc.core.errors import BadInput
from aigc.core.spec import Spec
from aigc.nets.layers import norm


class DiffusersUNet(nn.Module):
    """Denoiser role: `diffusers.UNet2DModel`.

    `mults` are as many as the size can be halved for; attention runs where a map has at most
    `attend` positions. `labels=False` leaves labels out, as diffusers' DDPMPipeline does.
    `folder` is a model or pipeline that diffusers saved, whose own shape must be the spec's. Time
    `k / timesteps` is their step `k - 1`.
    """

    captions = False  # it reads labels alone

    def __init__(
        self,
        spec: Spec,
        width: int = 32,
        depth: int = 1,
        mults: tuple[int, ...] = (1, 2, 2),
        attend: int = 64,
        dropout: float = 0.0,
        labels: bool = True,
        timesteps: int = 1000,
        folder: str | None = None,
        outputs: int = 1,
    ):
        super().__init__()
        from diffusers import UNet2DModel

        _picture(spec, "diffusers_unet")
        self.classes = spec.classes if labels else 0
        self.timesteps = timesteps
        if folder is not None:
            self.model = UNet2DModel.from_pretrained(_model_folder(folder))
            self._check(spec, outputs, folder)
        else:
            shape = _unet_shape(spec, width, tuple(mults), attend)
            self.model = UNet2DModel(
                sample_size=spec.shape[1:],
                in_channels=spec.shape[0],
                out_channels=outputs * spec.shape[0],
                layers_per_block=depth,
                dropout=dropout,
                norm_num_groups=norm(width).num_groups,
                attention_head_dim=min(8, width),
                num_class_embeds=self.classes + 1 if self.classes else None,
                **shape,
            )

    def forward(self, x: Tensor, t: Tensor, y: Tensor | None = None) -> Tensor:
        """`x (B, C, H, W)`, `t (B,)` in [0, 1], `y (B,)`."""
        label = _labels(y, len(x), self.classes, x.device) if self.classes else None
        return self.model(x, t * self.timesteps - 1, class_labels=label).sample

    def _check(self, spec: Spec, outputs: int, folder: str) -> None:
        """Whether a model that was read fits the data."""
        found = self.model.config
        wanted = (
            spec.shape[0],
            outputs * spec.shape[0],
            self.classes + 1 if self.classes else None,
        )
        if (found.in_channels, found.out_channels, found.num_class_embeds) != wanted:
            raise BadInput(
                f"net.denoiser.folder={folder}: channels in, out and class embeddings are "
                f"{found.in_channels}, {found.out_channels}, {found.num_class_embeds}; "
                f"the data needs {wanted[0]}, {wanted[1]}, {wanted[2]}"
            )


class DiffusersDiT(nn.Module):
    """Denoiser role: `diffusers.DiTTransformer2DModel` (Peebles & Xie 2023), for square
    pictures."""

    captions = False  # it reads labels alone

    def __init__(
        self,
        spec: Spec,
        width: int = 128,
        depth: int = 4,
        heads: int | None = None,
        patch: int = 2,
        dropout: float = 0.0,
        timesteps: int = 1000,
        outputs: int = 1,
    ):
        super().__init__()
        from diffusers import DiTTransformer2DModel

        _picture(spec, "dit")
        channels, height, side = spec.shape
        if height != side or side % patch:
            raise BadInput(f"net/denoiser=dit: {height} x {side} is not a square of {patch}s")
        heads = heads or max(1, width // 32)
        self.classes, self.timesteps = spec.classes, timesteps
        self.model = DiTTransformer2DModel(
            num_attention_heads=heads,
            attention_head_dim=width // heads,
            in_channels=channels,
            out_channels=outputs * channels,
            num_layers=depth,
            dropout=dropout,
            sample_size=side,
            patch_size=patch,
            num_embeds_ada_norm=max(1, spec.classes),
        )
        for module in self.model.modules():  # labels are dropped by the family, not here
            if hasattr(module, "dropout_prob"):
                module.dropout_prob = 0.0

    def forward(self, x: Tensor, t: Tensor, y: Tensor | None = None) -> Tensor:
        """`x (B, C, H, W)`, `t (B,)` in [0, 1], `y (B,)`."""
        label = _labels(y, len(x), max(1, self.classes), x.device)
        return self.model(x, timestep=t * self.timesteps - 1, class_labels=label).sample


def _picture(spec: Spec, name: str) -> None:
    if spec.rank != 2:
        raise BadInput(f"net/denoiser={name}: for pictures, not for data of shape {spec.shape}")


def _labels(y: Tensor | None, n: int, classes: int, device: torch.device) -> Tensor:
    """Labels with the last embedding for none."""
    if y is None:
        return torch.full((n,), classes, device=device)
    return torch.where(y < 0, classes, y)


def _unet_shape(spec: Spec, width: int, mults: tuple[int, ...], attend: int) -> dict[str, Any]:
    """Channels and kinds of blocks, from fine to coarse, while both sides can be halved."""
    height, side = spec.shape[1:]
    kinds: list[bool] = []
    for _ in mults:
        kinds.append(height * side <= attend)
        if height % 2 or side % 2:
            break
        height, side = height // 2, side // 2
    return {
        "block_out_channels": tuple(width * m for m in mults[: len(kinds)]),
        "down_block_types": tuple("AttnDownBlock2D" if a else "DownBlock2D" for a in kinds),
        "up_block_types": tuple("AttnUpBlock2D" if a else "UpBlock2D" for a in kinds[::-1]),
    }


def _model_folder(folder: str) -> Path:
    """The folder of the model itself, which a pipeline keeps below `unet`."""
    for place in (Path(folder) / "unet", Path(folder)):
        if (place / "config.json").is_file():
            return place
    raise BadInput(f"net.denoiser.folder={folder}: it has no config.json of diffusers")
