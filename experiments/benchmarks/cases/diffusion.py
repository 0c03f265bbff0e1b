"""U-Nets on 32 x 32 x 3 with 1.1 million parameters, batch 16."""

from contextlib import nullcontext
from functools import partial

import torch
from torch.nn import functional as F

from aigc.core.spec import Space
from aigc.lab.bench import case

BATCH, STEPS, WIDTH = 16, 50, 32


def ours(channels_last: bool = False):
    """Our family with its U-Net, attention at 16 x 16 and below as diffusers has it."""
    from aigc.core.views import Grid
    from aigc.families.diffusion.module import Diffusion
    from aigc.nets.unet import UNet

    torch.manual_seed(0)
    net = partial(UNet, width=WIDTH, mults=(1, 2, 2), attend=256)
    model = Diffusion(net, view=Grid(Space((3, 32, 32), 256)))
    return model.to(memory_format=torch.channels_last) if channels_last else model


def hub():
    """diffusers' U-Net, attention at 16 x 16 and 8 x 8."""
    from diffusers import UNet2DModel

    return UNet2DModel(
        sample_size=32,
        block_out_channels=(WIDTH, 2 * WIDTH, 2 * WIDTH),
        layers_per_block=1,
        norm_num_groups=8,
        attention_head_dim=32,
        down_block_types=("DownBlock2D", "AttnDownBlock2D", "AttnDownBlock2D"),
        up_block_types=("AttnUpBlock2D", "AttnUpBlock2D", "UpBlock2D"),
    )


def lucid():
    """denoising-diffusion-pytorch's, with the attention it comes with: linear where large."""
    from denoising_diffusion_pytorch import GaussianDiffusion, Unet

    net = Unet(24, dim_mults=(1, 2, 3), flash_attn=True)  # widths of as many parameters
    return GaussianDiffusion(net, image_size=32, sampling_timesteps=STEPS, auto_normalize=False)


def training(bf16: bool):
    """Forward, backward, fused AdamW on the same batch of noise."""
    x = torch.rand(BATCH, 3, 32, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1

    def start(build, loss):
        def make():
            model = build().train()
            optimizer = torch.optim.AdamW(model.parameters(), 1e-3, fused=True)

            def step():
                with torch.autocast("cpu", torch.bfloat16) if bf16 else nullcontext():
                    value = loss(model)
                optimizer.zero_grad()
                value.backward()
                optimizer.step()

            return step

        return make

    def diffusers():
        from diffusers import DDPMScheduler

        scheduler = DDPMScheduler()

        def loss(net):
            eps, t = torch.randn_like(x), torch.randint(1000, (BATCH,))
            return F.mse_loss(net(scheduler.add_noise(x, eps, t), t).sample, eps)

        return start(hub, loss)()

    return {
        "aigc": start(ours, lambda m: m.loss(x, None).value),
        "aigc channels_last": start(partial(ours, True), lambda m: m.loss(x, None).value),
        "diffusers": diffusers,
        "denoising-diffusion-pytorch": start(lucid, lambda m: m(x)),
    }


@case("unet_train_fp32", unit="images/s", count=BATCH, limit="conv_fp32")
def unet_train_fp32():
    """Training step of diffusion, fp32."""
    return training(bf16=False)


@case("unet_train_bf16", unit="images/s", count=BATCH, limit="conv_bf16")
def unet_train_bf16():
    """The same under bf16 autocast."""
    return training(bf16=True)


@case("ddim_50", unit="images/s", count=BATCH, light=True, turns=3)
def ddim_50():
    """16 samples of 50 steps of DDIM, and the bare passes of the networks."""

    def aigc():
        from aigc.families.diffusion.sampling import DDIM

        model = ours().eval()
        return lambda: model.sample(BATCH, sampler=DDIM(STEPS)) and None

    def passes(build, call):
        def make():
            net, x, t = build().eval(), torch.randn(BATCH, 3, 32, 32), torch.full((BATCH,), 0.5)

            def step() -> None:
                with torch.no_grad():
                    for _ in range(STEPS):
                        call(net, x, t)

            return step

        return make

    def diffusers():
        from diffusers import DDIMScheduler

        net, scheduler = hub().eval(), DDIMScheduler()

        def step() -> None:
            scheduler.set_timesteps(STEPS)
            x = torch.randn(BATCH, 3, 32, 32)
            with torch.no_grad():
                for t in scheduler.timesteps:
                    x = scheduler.step(net(x, t).sample, t, x).prev_sample

        return step

    def denoising():
        model = lucid().eval()
        return lambda: model.sample(batch_size=BATCH) is None or None

    return {
        "aigc": aigc,
        "aigc bare passes": passes(lambda: ours().net, lambda net, x, t: net(x, t)),
        "diffusers": diffusers,
        "diffusers bare passes": passes(hub, lambda net, x, t: net(x, 1000 * t)),
        "denoising-diffusion-pytorch": denoising,
    }
