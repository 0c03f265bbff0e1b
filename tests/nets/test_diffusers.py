"""diffusers' networks in our role, and trained runs in diffusers' pipelines."""

import pytest
import torch

import aigc
from aigc.core.errors import BadInput
from aigc.core.spec import Spec
from aigc.families.diffusion.sampling import DDIM
from aigc.nets.diffusers import DiffusersDiT, DiffusersUNet

PICTURE = Spec((3, 8, 8), quantum=0.1, classes=5)
NETS = {
    "unet": lambda spec, **more: DiffusersUNet(spec, width=8, **more),
    "dit": lambda spec, **more: DiffusersDiT(spec, width=32, depth=1, **more),
}


def wake(net: torch.nn.Module) -> torch.nn.Module:
    """Leave zero starts behind, so that outputs say something."""
    torch.manual_seed(0)
    for p in net.parameters():
        torch.nn.init.normal_(p, std=0.1)
    return net.eval()


@pytest.mark.parametrize("name", NETS)
def test_labels_and_times_matter_and_no_label_is_one_of_its_own(name: str):
    net = wake(NETS[name](PICTURE))
    x, t = torch.randn(4, 3, 8, 8), torch.full((4,), 0.5)
    y = torch.tensor([0, 1, -1, 2])
    out = net(x, t, y)
    assert out.shape == x.shape
    assert torch.allclose(out[2], net(x, t, None)[2], atol=1e-5)
    for other in (net(x, t, (y + 1) % 5), net(x, t + 0.1, y), net(x, t, None)):
        assert not torch.allclose(out[0], other[0], atol=1e-4)
    assert NETS[name](PICTURE, outputs=2)(x, t, y).shape == (4, 6, 8, 8)


def test_the_unet_is_theirs_at_the_step_before():
    net = wake(DiffusersUNet(Spec((1, 12, 8), quantum=0.1), width=8))
    x = torch.randn(2, 1, 12, 8)
    wanted = net.model(x, torch.tensor([99, 499])).sample
    assert torch.allclose(net(x, torch.tensor([0.1, 0.5])), wanted, atol=1e-5)
    assert len(net.model.config.block_out_channels) == 3  # 12 x 8, 6 x 4, 3 x 2


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: DiffusersUNet(Spec((4,), quantum=0.1)), "for pictures"),
        (lambda: DiffusersDiT(Spec((1, 8, 6), quantum=0.1)), "not a square"),
        (lambda: DiffusersUNet(PICTURE, folder="/no/such"), "no config.json"),
    ],
)
def test_what_does_not_fit_is_said_in_a_line(make, words: str):
    with pytest.raises(BadInput, match=words):
        make()


UNET = ["net/denoiser=diffusers_unet", "net.denoiser.labels=false", "trainer.preview=0"]


@pytest.mark.parametrize("predict", ["v", "eps"])
def test_an_exported_run_samples_in_diffusers_as_here_and_comes_back(smoke, tmp_path, predict):
    from diffusers import DDIMPipeline, DDPMPipeline

    words = [f"model.predict={predict}", "model/schedule=linear", *UNET]
    run = aigc.load(smoke(*words, "budget.examples=64"))
    folder = run.export(tmp_path / "pipeline")

    pipeline = DDIMPipeline.from_pretrained(folder)
    pipeline.set_progress_bar_config(disable=True)
    settings = {"num_inference_steps": 10, "output_type": "np", "use_clipped_model_output": True}
    found = pipeline(4, torch.Generator().manual_seed(0), **settings).images
    x_T = torch.randn(4, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    denoise = run.model.denoiser(None)

    def clamped(x, t):
        return denoise(x, t).clamp(-1, 1)

    with torch.no_grad():
        *_, ours = DDIM(10)(clamped, x_T, run.model.schedule, None)
    assert (ours.movedim(1, -1) - (torch.from_numpy(found) * 2 - 1)).abs().max() < 2e-3

    ancestral = DDPMPipeline.from_pretrained(folder)
    ancestral.set_progress_bar_config(disable=True)
    images = ancestral(2, num_inference_steps=3, output_type="np").images
    assert images.shape == (2, 8, 8, 1)

    back = DiffusersUNet(run.model.view.spec, labels=False, folder=str(folder)).eval()
    x, t = torch.randn(2, 1, 8, 8), torch.tensor([0.2, 0.9])
    with torch.no_grad():
        assert torch.equal(back(x, t), run.model.net(x, t))
    with pytest.raises(BadInput, match="class embeddings"):
        DiffusersUNet(run.model.view.spec, folder=str(folder))


def test_runs_that_pipelines_cannot_express_are_refused(smoke, tmp_path):
    few = "budget.examples=64"
    for words, line in (
        (["trainer.preview=0", few], "diffusers_unet"),
        ([*UNET[:1], "trainer.preview=0", few], "labels=false"),
        (["model=flow", *UNET, few], "chain of betas"),
    ):
        with pytest.raises(BadInput, match=line):
            aigc.load(smoke(*words)).export(tmp_path / "out")
