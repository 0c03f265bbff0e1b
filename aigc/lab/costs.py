"""What a trained model costs, measured while it samples and on one batch of training."""

import re
import time
from collections.abc import Callable
from math import prod
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from aigc.data.store import Store
from aigc.families.base import GenerativeModule
from aigc.lab import ranks
from aigc.lab.callbacks import reseed
from aigc.lab.run import Run, Samples


def timed_samples(
    run: Run, n: int, seed: int, strategy: Any, batch: int
) -> tuple[Samples, dict[str, float]]:
    """Samples, and what they cost: evaluations by a hook, examples a second of one device after a
    warm-up."""
    guide = getattr(strategy, "guide", None)
    calls = [count_calls(m.sampled_net) for m in (run.model, guide) if m is not None]
    with ranks.solo():
        run.sample(1, seed, sampler=strategy, batch_size=1)  # also warms up
    nfe = sum(c.stop() for c in calls)
    start = time.perf_counter()
    samples = run.sample(n, seed, sampler=strategy, batch_size=batch)
    seconds = time.perf_counter() - start
    status = run.dir.status
    return samples, {
        "samples_per_second": n / seconds / ranks.count(),
        "nfe": nfe,
        "parameters": status["parameters"],
        "train_seconds": status["train_seconds"],
    }


class count_calls:
    """Counts the forward calls of a network until `stop`."""

    def __init__(self, net: nn.Module):
        self.count = 0
        self.handle = net.register_forward_hook(self._call)

    def stop(self) -> int:
        """Remove the hook; the number of calls."""
        self.handle.remove()
        return self.count

    def _call(self, *_: Any) -> None:
        self.count += 1


def more_costs(run: Run, needs: frozenset[str], strategy: Any, batch: int) -> dict[str, float]:
    """Costs that take runs of their own, those in `needs`."""
    makers: dict[str, Callable[[], float | None]] = {
        "latency_ms": lambda: latency(run, strategy),
        "peak_mb": lambda: peak_memory(run, strategy, batch),
        "train_flops": lambda: train_flops(run, batch),
        "energy_j": lambda: energy(run, strategy, batch),
    }
    found = {name: make() for name, make in makers.items() if name in needs}
    return {name: value for name, value in found.items() if value is not None}


def latency(run: Run, strategy: Any, repeats: int = 5) -> float:
    """Milliseconds of a batch of one: the median after two warm-ups."""
    times = []
    for i in range(repeats + 2):
        start = time.perf_counter()
        run.sample(1, i, sampler=strategy, batch_size=1)  # ids come to the CPU, so it is over
        times.append(time.perf_counter() - start)
    return 1000 * float(torch.tensor(times[2:], dtype=torch.float64).median())


def peak_memory(run: Run, strategy: Any, batch: int) -> float | None:
    """The most memory while a batch is sampled, in MB; None where the system does not tell."""
    if run.device.startswith("cuda"):
        torch.cuda.reset_peak_memory_stats()
        run.sample(batch, 0, sampler=strategy, batch_size=batch)
        return torch.cuda.max_memory_allocated() / 1e6
    try:  # Linux: 5 sets the peak back to what is held now
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return None
    run.sample(batch, 0, sampler=strategy, batch_size=batch)
    peak = re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())
    return int(peak[1]) * 1024 / 1e6


def energy(run: Run, strategy: Any, batch: int) -> float | None:
    """Joules a sample by the GPU's own counter (NVML); None where there is none."""
    if not run.device.startswith("cuda"):
        return None
    try:
        import pynvml

        pynvml.nvmlInit()
        uuid = f"GPU-{torch.cuda.get_device_properties(run.device).uuid}"
        device = pynvml.nvmlDeviceGetHandleByUUID(uuid)
        before = pynvml.nvmlDeviceGetTotalEnergyConsumption(device)
        run.sample(batch, 0, sampler=strategy, batch_size=batch)
        return (pynvml.nvmlDeviceGetTotalEnergyConsumption(device) - before) / 1000 / batch
    except Exception:  # no such library, or a device that does not count
        return None


def train_flops(run: Run, batch: int) -> float | None:
    """Operations of training; None where the counter sees none (a foreign kernel)."""
    counted = flops_per_example(run.model, run.store, batch)
    return counted and counted * run.dir.status["examples"]


def flops_per_example(model: GenerativeModule, store: Store, batch: int) -> float | None:
    """Operations of the family's losses, forward and backward, counted on one batch."""
    ids, y = store.examples("train", batch)
    x = model.view.encode(ids.to(model.device))
    y = None if y is None else y.to(model.device)
    if hasattr(model, "critic_loss"):  # the generator has its turn every `n_critic` batches
        counted = _flops(model.critic_loss, model, x, y)
        model.critic.requires_grad_(False)
        counted += _flops(model.loss, model, x, y) / model.n_critic
        model.critic.requires_grad_(True)
    else:
        counted = _flops(model.loss, model, x, y)
    return counted / len(ids) or None


class Whole:
    """In the place of FlopCounterMode's tracker of modules: everything is counted together."""

    parents: ClassVar = {"Global"}

    def __enter__(self) -> None: ...

    def __exit__(self, *error: Any) -> None: ...


def _flops(loss: Callable, model: nn.Module, x: Tensor, y: Tensor | None) -> int:
    """Counted with the plain kernel of attention, which alone has gradients of gradients."""
    from torch.nn.attention import SDPBackend, sdpa_kernel
    from torch.utils.flop_counter import FlopCounterMode

    reseed(0, model.device)
    counter = FlopCounterMode(display=False, custom_mapping=kernels())
    counter.mod_tracker = Whole()  # its own cannot follow a gradient of a gradient
    with sdpa_kernel(SDPBackend.MATH), counter:
        loss(x, y).value.backward()
    model.zero_grad(set_to_none=True)
    return counter.get_total_flops()


def kernels() -> dict[Any, Callable]:
    """Operations that `FlopCounterMode` does not know, and what they do: attention (over all pairs,
    masked or not), products that are added to a tensor or by weights that are laid out."""
    from torch.utils.flop_counter import sdpa_backward_flop_count, sdpa_flop_count

    def forward(q, k, v, *args, **more):
        return sdpa_flop_count(q, k, v)

    def backward(grad, q, k, v, *args, **more):
        return sdpa_backward_flop_count(grad, q, k, v)

    def product(x, *args, out_shape, **more):
        return 2 * prod(x) * out_shape[-1]

    def added(y, a, b, *args, **more):
        return 2 * prod(a) * b[-1]

    aten = torch.ops.aten
    known = {
        aten.addmm_: added,
        aten._scaled_dot_product_flash_attention_for_cpu: forward,
        aten._scaled_dot_product_flash_attention_for_cpu_backward: backward,
    }
    if torch.backends.mkldnn.is_available():
        known[torch.ops.mkldnn._linear_pointwise] = product
    return known
