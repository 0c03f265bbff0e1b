"""One model spread over processes by FSDP2: each holds a part of every weight, of its gradient, of
its moments and of its average (torch's `fully_shard`; Zhao et al. 2023).

What Lightning's `ModelParallelStrategy` lacks for a run is here: which modules are gathered
together, an average of the weights that stays in parts, and states that are written whole or not at
all, checked by their sums before they are read, and read without running code.
"""

import os
import warnings
from functools import partial
from pathlib import Path
from typing import Any

import lightning as L
import torch
import torch.distributed as dist
import torch.distributed.checkpoint as dcp
from lightning.pytorch.strategies import ModelParallelStrategy
from torch import Tensor, nn
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_model_state_dict,
    get_optimizer_state_dict,
    set_model_state_dict,
    set_optimizer_state_dict,
)
from torch.distributed.fsdp import fully_shard, register_fsdp_forward_method
from torch.distributed.tensor import DTensor

from aigc.core.errors import BadInput
from aigc.core.sums import write_sums
from aigc.families.base import GenerativeModule
from aigc.lab.callbacks import EMA
from aigc.lab.checkpoint import STATE, Damaged, finite, remove, sound, sync

AS_FORWARD = ("training_step", "validation_step", "sample", "observe")
PARTS = ("state_dict", "current_model_state")


def check_sharded(model: GenerativeModule, config: dict[str, Any]) -> None:
    """Raise BadInput for what is not right when the weights lie in parts."""
    name, why = config["model"]["name"], ""
    modules = {type(m).__name__ for m in model.modules()}
    if not model.automatic_optimization:
        why = f"a {name} trains two networks by hand, one through the other's gradient"
    elif getattr(model, "critic", None) or isinstance(getattr(model, "bound", None), nn.Module):
        why = "its critic learns in the same backward pass"
    elif {"VQ", "ResidualVQ"} & modules:
        why = "its codebook follows the data outside of the optimizer"
    elif config.get("adversary"):
        why = "adversary takes gradients of a batch before the step"
    elif config["trainer"]["compile"]:
        why = "trainer.compile=true is not tested with it"
    elif config["trainer"]["precision"] not in ("32-true", "bf16-mixed", "bf16-true"):
        why = f"trainer.precision={config['trainer']['precision']}: 32-true, bf16-mixed, bf16-true"
    if why:
        raise BadInput(f"strategy={config['strategy']['name']}: {why}; use strategy=ddp")


def shard(model: GenerativeModule) -> None:
    """Spread a model over the processes of its mesh: the blocks of its networks each by itself, the
    rest together. What enters it from outside gathers the weights first."""
    mesh = model.device_mesh["data_parallel"]
    rates = {n: p.lr_scale for n, p in model.named_parameters() if hasattr(p, "lr_scale")}
    for net in model.children():
        if not type(net).__module__.startswith("aigc.families"):
            for block in _blocks(net):
                fully_shard(block, mesh=mesh)
    fully_shard(model, mesh=mesh, reshard_after_forward=True)
    for name, p in model.named_parameters():
        if name in rates:
            p.lr_scale = rates[name]
    for method in AS_FORWARD:
        register_fsdp_forward_method(model, method)


def _blocks(net: nn.Module) -> list[nn.Module]:
    """The innermost members of lists of modules, which a network calls one after another."""
    lists = [m for m in net.modules() if isinstance(m, nn.ModuleList)]
    members = [m for one in lists for m in one if not isinstance(m, nn.ModuleList)]
    inside = {id(m) for member in members for m in member.modules() if m is not member}
    return [m for m in members if id(m) not in inside and any(True for _ in m.parameters())]


def whole_weights(model: GenerativeModule) -> dict[str, Tensor]:
    """The weights put together on rank zero's CPU, nothing elsewhere; all ranks call it."""
    options = StateDictOptions(full_state_dict=True, cpu_offload=True)
    return get_model_state_dict(model, options=options)


class Sharded(ModelParallelStrategy):
    """FSDP2 over all processes, with states that are folders of safetensors, a file a rank."""

    def setup_environment(self) -> None:
        """Every process holds a part of the data and of the weights."""
        self._data_parallel_size = self.num_nodes * self.num_processes
        self._tensor_parallel_size = 1
        super().setup_environment()

    def connect(self, model: GenerativeModule) -> None:
        """Have Lightning shard the model when the processes know each other."""
        model.configure_model = partial(shard, model)
        super().connect(model)

    def save_checkpoint(self, checkpoint: dict[str, Any], filepath, storage_options=None) -> None:
        """Write the parts of all ranks to a folder that appears when it is whole."""
        path = Path(self.broadcast(str(filepath)))
        part = path.with_name(f".{path.name}.part-{self.broadcast(os.getpid())}")
        tensors = {key: checkpoint.pop(key) for key in PARTS if key in checkpoint}
        ours = [{k: _local(v) for k, v in tree.items()} for tree in tensors.values()]
        ok = torch.tensor(float(finite(*ours)), device=self.root_device)
        if not self.reduce(ok, reduce_op="sum") == self.world_size:
            raise FloatingPointError(
                "the weights are not finite: the run has diverged, lower the rate"
            )
        groups = []
        for i, state in enumerate(checkpoint.pop("optimizer_states", [])):
            tensors[f"optimizer_{i}"] = state["state"]
            groups.append(state["param_groups"])
        checkpoint["param_groups"] = groups
        if self.is_global_zero:
            remove(part)
            part.mkdir(parents=True)
        self.barrier()
        dcp.save(_apart(_flat(tensors)), storage_writer=_writer(part))
        if self.is_global_zero:
            torch.save(checkpoint, part / STATE)
            write_sums(part)
            for file in part.iterdir():
                sync(file)
            remove(path)
            part.replace(path)
            sync(path.parent)
        self.barrier()

    def load_checkpoint(self, checkpoint_path, weights_only: bool | None = None) -> dict[str, Any]:
        """Read this rank's parts into the model and its optimizers, and give the rest back."""
        path = Path(self.broadcast(str(checkpoint_path)))
        if not sound(path):
            raise Damaged(f"{path} is damaged, missing or no plain data")
        checkpoint = torch.load(path / STATE, map_location="cpu", weights_only=True)
        model, tensors = self.lightning_module, {}
        keys = PARTS if "averaged" in checkpoint else PARTS[:1]
        tensors |= {key: get_model_state_dict(model) for key in keys}
        if "averaged" in checkpoint:  # two sets of weights, read to two places
            tensors["state_dict"] = {k: v.clone() for k, v in tensors["state_dict"].items()}
        states = [get_optimizer_state_dict(model, optimizer) for optimizer in self.optimizers]
        tensors |= {f"optimizer_{i}": state["state"] for i, state in enumerate(states)}
        dcp.load(_flat(tensors), storage_reader=_reader(path))  # in place
        set_model_state_dict(model, tensors[keys[-1]])
        for i, (optimizer, groups) in enumerate(zip(self.optimizers, checkpoint["param_groups"])):
            state = {"state": tensors[f"optimizer_{i}"], "param_groups": groups}
            set_optimizer_state_dict(model, optimizer, state)
        return checkpoint | {key: tensors[key] for key in keys}


class ShardedEMA(EMA):
    """The same average, of this rank's parts of the weights."""

    def setup(self, trainer: L.Trainer, pl_module: GenerativeModule, stage: str) -> None:
        """Nothing is sharded yet."""

    @torch.no_grad()
    def on_fit_start(self, trainer: L.Trainer, module: GenerativeModule) -> None:
        """Begin with the weights as they are."""
        self._average_model = [_local(p).clone() for p in module.parameters()]
        self._count = 0

    def on_train_start(self, trainer: L.Trainer, module: GenerativeModule) -> None:
        """There is no second module."""

    @torch.no_grad()
    def on_train_batch_end(self, trainer, module, outputs, batch, index) -> None:
        if trainer.global_step > self._latest_update_step:
            current = [_local(p) for p in module.parameters()]
            if self._count:
                torch._foreach_lerp_(self._average_model, current, self._share(self._count))
            else:  # as torch's AveragedModel begins
                torch._foreach_copy_(self._average_model, current)
            self._count += 1
            self._latest_update_step = trainer.global_step

    def on_train_epoch_end(self, trainer: L.Trainer, module: GenerativeModule) -> None: ...

    def on_save_checkpoint(self, trainer, module, checkpoint: dict[str, Any]) -> None:
        current = checkpoint["current_model_state"] = checkpoint["state_dict"]
        names = [name for name, _ in module.named_parameters()]
        averaged = dict(zip(names, self._average_model))
        checkpoint["state_dict"] = {
            name: _like(value, averaged[name]) if name in averaged else value
            for name, value in current.items()
        }
        checkpoint["averaged"] = self._count

    @torch.no_grad()
    def on_load_checkpoint(self, trainer, module, checkpoint: dict[str, Any]) -> None:
        self._count = checkpoint["averaged"]
        for (name, _), mean in zip(module.named_parameters(), self._average_model):
            mean.copy_(_local(checkpoint["state_dict"][name]))

    @torch.no_grad()
    def _swap_models(self, pl_module: GenerativeModule) -> None:
        for mean, p in zip(self._average_model, pl_module.parameters()):
            mine, kept = _local(p), mean.clone()
            mean.copy_(mine)
            mine.copy_(kept)
        self._swapped = not self._swapped

    @torch.no_grad()
    def _copy_average_to_current(self, pl_module: GenerativeModule) -> None:
        for mean, p in zip(self._average_model, pl_module.parameters()):
            _local(p).copy_(mean)


class SameBuffers(L.Callback):
    """Gives all ranks rank zero's buffers before a validation, as DDP does before every step: the
    running statistics of batch normalisation are those of a rank's own examples."""

    def on_validation_start(self, trainer: L.Trainer, module: Any) -> None:
        for buffer in module.buffers():
            dist.broadcast(buffer, 0)


def whole(path: Path) -> dict[str, dict[str, Tensor]]:
    """The tensors of a sharded state in one process, without a process group: `state_dict`,
    `current_model_state` where weights are averaged, `optimizer_0`; Damaged where it is not as it
    was written."""
    if not sound(path):
        raise Damaged(f"{path} is damaged, missing or no plain data")
    found = _reader(path).read_metadata().state_dict_metadata
    flat = {name: torch.empty(m.size, dtype=m.properties.dtype) for name, m in found.items()}
    with warnings.catch_warnings(action="ignore"):  # that there is one process
        dcp.load(flat, storage_reader=_reader(path), no_dist=True)
    return _trees(flat)


def _writer(path: Path) -> Any:
    return dcp.HuggingFaceStorageWriter(str(path), save_distributed=True)


def _reader(path: Path) -> Any:
    return dcp.HuggingFaceStorageReader(str(path))


def _flat(trees: dict[str, Any]) -> dict[str, Tensor]:
    """`{"a": {"b.c": t}}` to `{"a/b.c": t}`; single numbers become vectors of one, which is what
    the format can hold of them."""
    flat = {}
    for name, value in trees.items():
        if isinstance(value, Tensor):
            flat[name] = value if value.ndim else value[None]
        else:
            flat |= {f"{name}/{key}": v for key, v in _flat(value).items()}
    return flat


def _apart(flat: dict[str, Tensor]) -> dict[str, Tensor]:
    """The same without shared memory (tied weights, a buffer of both sets), which the format
    refuses."""
    seen, out = set(), {}
    for name, value in flat.items():
        place = _local(value).untyped_storage().data_ptr()
        out[name] = value.clone() if place in seen else value
        seen.add(place)
    return out


def _trees(flat: dict[str, Tensor]) -> dict[str, dict[str, Tensor]]:
    """`{"a/b.c": t}` to `{"a": {"b.c": t}}`."""
    trees: dict[str, dict[str, Tensor]] = {}
    for name, value in flat.items():
        tree, _, key = name.partition("/")
        trees.setdefault(tree, {})[key] = value
    return trees


def _local(x: Tensor) -> Tensor:
    """This rank's part."""
    return x.to_local() if isinstance(x, DTensor) else x


def _like(x: Tensor, local: Tensor) -> Tensor:
    """`local` as this rank's part of a tensor that is spread as `x` is."""
    if not isinstance(x, DTensor):
        return local
    return DTensor.from_local(
        local, x.device_mesh, x.placements, run_check=False, shape=x.shape, stride=x.stride()
    )
