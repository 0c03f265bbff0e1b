"""`aigc doctor`: versions, devices, optional parts, data found, folders."""

import importlib
import os
import platform
import shutil
from importlib.metadata import PackageNotFoundError, version

from aigc.core.errors import BadInput
from aigc.runs import cache_root, runs_root

CORE = ("torch", "torchvision", "torchaudio", "lightning", "hydra-core", "transformers", "wandb")
OPTIONAL = {
    "sweep": "optuna",
    "finetune": "peft",
    "slurm": "submitit",
    "ray": "ray",
    "serve": "gradio",
    "export": "onnx",
}


def main(words: list[str]) -> None:
    """Print the report; a broken core dependency is an error."""
    if words:
        raise BadInput(f"doctor takes no words, not '{words[0]}'")
    broken = []
    print(f"python        {platform.python_version()} on {platform.platform()}")
    for name in CORE:
        module = "hydra" if name == "hydra-core" else name
        try:
            importlib.import_module(module)
            state = "ok"
        except Exception as error:  # an extension that does not load raises many kinds
            state = f"does not import: {str(error).splitlines()[0]}"
            if name != "torchaudio":  # nothing but audio transforms needs it
                broken.append(name)
        print(f"{name:<14}{_version(name):<12}{state}")
    for extra, package in OPTIONAL.items():
        found = _version(package)
        note = found or f"not installed (pip install 'aigc[{extra}]')"
        print(f"{package:<14}{note}")
    devices()
    data()
    folders()
    if broken:
        raise BadInput(f"broken: {', '.join(broken)}; see above")


def devices() -> None:
    """Processors and accelerators."""
    import torch

    print(f"cpu           {os.cpu_count()} cores, {torch.get_num_threads()} threads")
    if torch.cuda.is_available():
        for i in range(torch.cuda.device_count()):
            gpu = torch.cuda.get_device_properties(i)
            print(f"gpu {i}         {gpu.name}, {gpu.total_memory / 2**30:.0f} GiB")
    else:
        print("gpu           none")


def data() -> None:
    """Which standard data sets lie below the data root."""
    from aigc.data.datasets import all_datasets, data_root

    root = data_root()
    standard = [f for f in all_datasets().values() if f.kind == "standard"]
    print(f"data root     {root.resolve()}{'' if root.is_dir() else ' (not there)'}")
    found = [f.name for f in standard if f.found()]
    print(f"data found    {', '.join(found) or 'none'} (embedded sets need no files)")


def folders() -> None:
    """Where things go and how much room there is."""
    for title, path in (("runs", runs_root()), ("cache", cache_root())):
        existing = next(p for p in (path.absolute(), *path.absolute().parents) if p.exists())
        free = shutil.disk_usage(existing).free / 2**30
        can = "writable" if os.access(existing, os.W_OK) else "NOT WRITABLE"
        print(f"{title:<14}{path.absolute()}, {free:.0f} GiB free, {can}")


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return ""
