"""A trained run as a folder that transformers or diffusers loads."""

from pathlib import Path
from typing import TYPE_CHECKING

from aigc.core.errors import BadInput
from aigc.families.diffusion.module import Diffusion
from aigc.families.diffusion.schedules import Chain
from aigc.nets.diffusers import DiffusersUNet

if TYPE_CHECKING:
    from aigc.lab.run import Run

THEIRS = {"eps": "epsilon", "x0": "sample", "v": "v_prediction"}


def export(run: "Run", folder: str | Path) -> Path:
    """A language model with its tokenizer, or a diffusion pipeline; BadInput for other runs."""
    nets = [net for net in run.model.children() if hasattr(net, "save_pretrained")]
    if not nets:
        return to_pipeline(run, folder)
    nets[0].save_pretrained(folder)
    run.codec.export(Path(folder))
    return Path(folder)


def to_pipeline(run: "Run", folder: str | Path) -> Path:
    """Write network and schedule so that `DDPMPipeline` and `DDIMPipeline` sample from `folder`.

    Raises BadInput for a run that they cannot express.
    """
    from diffusers import DDPMPipeline, DDPMScheduler

    model, config = run.model, run.config["model"]
    if not isinstance(model, Diffusion) or not isinstance(model.net, DiffusersUNet):
        raise BadInput("export: needs net/causal_lm=hf or gpt2, or net/denoiser=diffusers_unet")
    if model.net.classes:
        raise BadInput("export: DDPMPipeline knows no labels: train with net.denoiser.labels=false")
    if not isinstance(model.schedule, Chain) or config["predict"] not in THEIRS:
        raise BadInput("export: needs a chain of betas, and model.predict eps, x0 or v")
    scheduler = DDPMScheduler(
        num_train_timesteps=model.schedule.steps,
        trained_betas=model.schedule.betas().tolist(),
        prediction_type=THEIRS[config["predict"]],
        variance_type="learned_range" if config["variance"] == "learned" else "fixed_small",
        timestep_spacing="trailing",
        clip_sample=True,
    )
    DDPMPipeline(model.net.model.cpu().eval(), scheduler).save_pretrained(folder)
    model.to(run.device)
    return Path(folder)
