"""Every scheduler of diffusers as a sampling strategy."""

import inspect
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from aigc.core.errors import BadInput, unknown
from aigc.core.rng import Rng
from aigc.families.diffusion.objective import Denoise
from aigc.families.diffusion.sampling import Sampler
from aigc.families.diffusion.schedules import Chain, Schedule, Straight, expand

# Those that go the other way, count time their own way, or need pictures to fill in.
OTHERS = ("Inverse", "IPNDM", "CogVideoX", "RePaint")


@dataclass(frozen=True)
class Diffusers(Sampler):
    """Drives `diffusers.<scheduler>` with our betas (or, for flows, our straight path); `options`
    go to its constructor.

    It is given eps (the velocity for a flow) and, where it has them, Karras or exponential sigmas
    by `grid`.
    """

    scheduler: str = "DPMSolverMultistepScheduler"
    options: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self):
        super().__post_init__()
        if self.start < 1:
            raise BadInput("sampler=diffusers starts from noise: choose another for this edit")

    def __call__(
        self, denoise: Denoise, x: Tensor, schedule: Schedule, rng: Rng
    ) -> Iterator[Tensor]:
        """States from `x_T` to `x_0` in the scheduler's own scale."""
        theirs = self.build(schedule)
        theirs.set_timesteps(min(self.steps, schedule.steps))
        flow = isinstance(schedule, Straight)
        extra = {}
        if "generator" in inspect.signature(theirs.step).parameters:
            extra["generator"] = _generators(rng, len(x))
        x = x * float(getattr(theirs, "init_noise_sigma", 1.0))
        for k in theirs.timesteps:
            x_t = x if flow else theirs.scale_model_input(x, k)
            t = x.new_full((len(x),), float(k), dtype=torch.float64)
            t = t / schedule.steps if flow else (t + 1) / schedule.steps
            alpha, sigma = (expand(a, x) for a in schedule(t))
            x0 = denoise(x_t, t)
            eps = (x_t - alpha * x0) / sigma
            x = theirs.step(eps - x0 if flow else eps, k, x, **extra).prev_sample
            yield x

    def build(self, schedule: Schedule) -> Any:
        """The scheduler; raises BadInput where it cannot follow `schedule`."""
        make = scheduler_class(self.scheduler)
        flow = "Flow" in self.scheduler
        if flow != isinstance(schedule, Straight) or not isinstance(schedule, Chain | Straight):
            raise BadInput(
                f"sampler.scheduler={self.scheduler} does not follow the path "
                f"{type(schedule).__name__.lower()}: chains of betas take schedulers of betas, "
                "straight paths those of flow matching"
            )
        settings: dict[str, Any] = {"num_train_timesteps": schedule.steps}
        if not flow:
            takes = inspect.signature(make).parameters
            more = {"prediction_type": "epsilon", "clip_sample": False, "thresholding": False}
            more["timestep_spacing"] = "trailing"
            more["set_alpha_to_one"] = True
            more[f"use_{self.grid}_sigmas"] = True
            settings |= {k: v for k, v in more.items() if k in takes}
            settings["trained_betas"] = schedule.betas().numpy()
        try:
            return make(**settings | self.options)
        except (TypeError, ValueError, NotImplementedError, ImportError) as error:
            raise BadInput(f"sampler.scheduler={self.scheduler}: {error}") from error


def scheduler_class(name: str) -> type:
    """A scheduler of betas or of flow matching by its name."""
    import diffusers

    names = [n for n in dir(diffusers) if n.endswith("Scheduler")]
    names = [n for n in names if not any(part in n for part in OTHERS)]
    if name not in names:
        raise unknown("sampler.scheduler", name, names)
    found = getattr(diffusers, name)
    takes = inspect.signature(found).parameters
    if "trained_betas" not in takes and "Flow" not in name:
        raise BadInput(f"sampler.scheduler={name}: it takes no betas, so it cannot follow this run")
    return found


def _generators(rng: Rng, n: int) -> list[torch.Generator]:
    """One for each sample, since a sample must not depend on its neighbours."""
    seeds = (rng.uniform(1)[:n, 0] * 2**62).long().tolist()
    return [torch.Generator(rng.device).manual_seed(seed) for seed in seeds]
