"""Samples and likelihoods over several processes: each draws its part, and all get the whole.

Sample `i` depends on `(seed, i)` alone, so a part is a range of numbers, cut at multiples of 16 as
batches are: there a row has the same bits whatever it is drawn with. `devices=4` starts the
processes here; under torchrun they are there already.
"""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch import distributed as dist

from aigc.core.errors import BadInput
from aigc.families.base import ROWS, GenerativeModule

CHILD = "from aigc.lab.tasks import child; child()"
MADE = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT", "AIGC_CHILD")
together = False  # whether all processes draw now what one is asked for


def alone() -> bool:
    """Whether this process draws by itself what it is asked for."""
    return not together


def count() -> int:
    """How many processes draw together."""
    return dist.get_world_size() if together else 1


@contextmanager
def joined(task: str, config: dict[str, Any]) -> Iterator[int]:
    """Run `task` of `config` on `config["devices"]` processes; gives the rank, 0 for the one that
    writes."""
    asked, started = config["devices"], []
    if not isinstance(asked, int) or asked < 1:
        raise BadInput(f"devices={asked}: a number of processes, at least 1")
    there = "TORCHELASTIC_RUN_ID" in os.environ or "AIGC_CHILD" in os.environ
    if not there and asked == 1:
        yield 0
        return
    if not there:
        started = _start(task, config)
    try:
        with _group() as rank:
            yield rank
        for process in started:
            process.wait()
    finally:
        for process in started:
            process.kill()
            process.wait()
        if started:
            dist.destroy_process_group()
            for name in MADE:
                os.environ.pop(name, None)


def leave() -> None:
    """From here on this process works alone."""
    global together
    together = False


@contextmanager
def solo() -> Iterator[None]:
    """Meanwhile this process works alone."""
    global together
    was, together = together, False
    try:
        yield
    finally:
        together = was


def in_training(trainer: Any, model: GenerativeModule, n: int, sampler: Any) -> Tensor:
    """Ids of `n` samples, on all processes that train; where the weights lie in parts all draw all,
    since they gather them together."""
    if trainer.world_size == 1 or hasattr(trainer.strategy, "device_mesh"):
        return model.sample(n, sampler=sampler)[0]
    return sample(model, n, sampler=sampler)[0]


def sample(
    model: GenerativeModule, n: int, y: Any = None, seed: int = 0, sampler: Any = None, **more: Any
) -> tuple[Tensor, Tensor | None]:
    """`model.sample`, of which each process draws a part; all call it, and get all of it."""
    rank, world = dist.get_rank(), dist.get_world_size()
    start, stop = part(n, rank, world)
    prompts = more.pop("prompts", None)
    if isinstance(y, Tensor) and y.ndim == 1 + bool(model.view.spec.caption) and len(y) == n:
        y = y[start:stop]  # one a sample, and not one for all
    if prompts is not None:
        more["prompts"] = prompts[start:stop]
    found: Any = (None, None)
    if stop > start:
        ids, labels = model.sample(stop - start, y, seed, sampler, start=start, **more)
        found = ids.cpu(), None if labels is None else labels.cpu()
    parts = [(ids, labels) for ids, labels in gather(found) if ids is not None]
    ids, labels = zip(*parts)
    device = model.device
    return torch.cat(ids).to(device), None if labels[0] is None else torch.cat(labels).to(device)


def part(n: int, rank: int, world: int) -> tuple[int, int]:
    """Which of `n` rows a rank has: as many as the others, in steps of 16."""
    steps = -(-n // ROWS)
    at = [min(n, steps * k // world * ROWS) for k in (rank, rank + 1)]
    return at[0], at[1]


def each(count: int, make: Callable[[int], Tensor]) -> list[Tensor]:
    """`[make(0), ..., make(count - 1)]`, shared out over the processes; all get all of it."""
    if alone():
        return [make(i) for i in range(count)]
    rank, world = dist.get_rank(), dist.get_world_size()
    mine = {i: make(i).cpu() for i in range(rank, count, world)}
    found = {i: value for one in gather(mine) for i, value in one.items()}
    return [found[i] for i in range(count)]


def gather(value: Any) -> list[Any]:
    """The values of all ranks, in their order."""
    values: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(values, value)
    return values


def _start(task: str, config: dict[str, Any]) -> list[subprocess.Popen]:
    """All ranks but this one, which becomes rank zero."""
    world = config["devices"]
    if torch.cuda.is_available() and world > torch.cuda.device_count():
        raise BadInput(f"devices={world}: there are {torch.cuda.device_count()}")
    if dist.is_initialized():  # of a training in this process
        dist.destroy_process_group()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    values = ("0", "0", str(world), "127.0.0.1", str(port), "1")
    os.environ |= dict(zip(MADE, values))
    words, started = json.dumps({"task": task, "config": config}).encode(), []
    for rank in range(1, world):
        env = {**os.environ, "RANK": str(rank), "LOCAL_RANK": str(rank)}
        line = [sys.executable, "-c", CHILD]
        process = subprocess.Popen(line, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, env=env)
        process.stdin.write(words)
        process.stdin.close()
        started.append(process)
    return started


@contextmanager
def _group() -> Iterator[int]:
    """The processes know each other, and draw together; by gloo, which all machines have."""
    global together
    if not dist.is_initialized():
        dist.init_process_group("gloo")
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", 0)))
    together = True
    try:
        yield dist.get_rank()
    finally:
        together = False
