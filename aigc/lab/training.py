"""`aigc train`: one run from a configuration."""

import logging
import os
import platform
import subprocess
import sys
import warnings
from dataclasses import asdict
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint
from lightning.pytorch.utilities.exceptions import MisconfigurationException

from aigc.core.errors import BadInput, unknown
from aigc.core.rng import seeds
from aigc.data.augment import Augment
from aigc.data.datamodule import DataModule
from aigc.data.datasets import all_datasets
from aigc.data.store import Store
from aigc.families.base import GenerativeModule
from aigc.lab import build
from aigc.lab.callbacks import EMA, Log, Progress, Seeds
from aigc.lab.health import Health
from aigc.lab.run import Run, Samples, save_weights
from aigc.lab.stage import first_stage, keep
from aigc.lab.transfer import start_from, told
from aigc.lab.validate import validate
from aigc.runs import RunDir


def train(config: dict[str, Any]) -> RunDir:
    """Train the run of this configuration unless it is done already; returns its folder."""
    build.plugins(config)
    validate(config)
    run = RunDir.of(config)
    if not main_process():
        return fit(config, run)
    with run.held():
        if run.is_done:
            print(f"already trained: {run}", file=sys.stderr)
            if all_datasets()[config["dataset"]["name"]].kind == "own":
                Run(run).store  # noqa: B018  (says so if the files have changed)
            return run
        return fit(config, run)


def fit(config: dict[str, Any], run: RunDir) -> RunDir:
    """Train the run in its folder, from the beginning."""
    quiet()
    store = build.store(config)
    stage = first_stage(config, store)
    torch.manual_seed(seeds(config["seed"]))
    model = build.model(config, store.space, stage and stage.model)
    if (y := store.labels("train")) is not None:
        model.remember(torch.from_numpy(y))
    begun = start_from(model, config["init"], config["init_freeze"] or [])
    data = DataModule(
        store,
        config["budget"]["batch_size"],
        config["budget"]["examples"],
        config["seed"],
        config["trainer"]["where"],
        config["trainer"]["workers"],
        config["balance"],
    )
    if main_process():
        run.start(config, environment())
        store.codec.save(run / "codec")
        if stage:
            keep(stage.dir, run / "view")
        if begun:
            run.mark("running", init=begun)
            print(told(begun), file=sys.stderr)
    try:
        try:
            trainer = make_trainer(config, run, model, store)
        except (ValueError, MisconfigurationException) as error:
            if isinstance(error, BadInput):
                raise
            raise BadInput(f"trainer or strategy: {str(error).splitlines()[0]}") from error
        trainer.fit(model, data)
        if trainer.is_global_zero:
            finish(config, run, model, data, trainer)
    except BaseException as error:
        if main_process():
            run.mark("failed", reason=f"{type(error).__name__}: {error}".splitlines()[0])
        raise
    return run


def make_trainer(
    config: dict[str, Any], run: RunDir, model: GenerativeModule, store: Store
) -> L.Trainer:
    """Lightning's trainer: one long epoch, validation at even intervals, our own log."""
    settings, budget = config["trainer"], config["budget"]
    batches = -(-budget["examples"] // budget["batch_size"])
    log = Log(run / "log.csv", budget["batch_size"], batches, settings["log_points"])
    title = f"{config['model']['name']} on {config['dataset']['name']}"
    callbacks = [Seeds(config["seed"]), Augment(build.augmentations(config)), log]
    callbacks += [Progress(log, title, budget["batch_size"], batches)]
    if "nats" not in model.provides and settings["validations"]:
        sampler = build.sampler(config["sampler"], config["model"]["name"])
        callbacks.append(Health(store, run, sampler, batches, budget["batch_size"]))
    if config["model"]["ema"]:
        callbacks.append(EMA(config["model"]["ema"]))
    callbacks += checkpoints(settings, run, model)
    if settings["patience"] is not None:
        callbacks.append(EarlyStopping("val/loss", patience=settings["patience"]))
    if settings["compile"]:
        for child in model.children():
            child.compile()
    if settings["channels_last"]:
        model.to(memory_format=torch.channels_last)
    return L.Trainer(
        accelerator="cpu" if config["strategy"]["name"] == "ddp_cpu" else settings["accelerator"],
        devices=config["strategy"]["devices"],
        num_nodes=config["strategy"]["nodes"],
        strategy=strategy(config["strategy"]["name"], model),
        precision=settings["precision"],
        max_epochs=1,
        val_check_interval=max(1, batches // max(settings["validations"], 1)),
        limit_val_batches=None if settings["validations"] else 0,
        gradient_clip_val=config["model"]["clip"] if model.automatic_optimization else None,
        callbacks=callbacks,
        logger=loggers(config, run),
        num_sanity_val_steps=0,
        use_distributed_sampler=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=run.path,
    )


def checkpoints(settings: dict[str, Any], run: RunDir, model: GenerativeModule) -> list:
    """The last state, and the weights of the best validation: by its loss where the family has one,
    by the Frechet distance (`best_fd`) where it has none."""
    if settings["keep"] not in (known := ("best", "best_fd", "last")):
        raise unknown("trainer.keep", settings["keep"], known)
    watched = "nats" not in model.provides
    monitor = {"best": None if watched else "val/loss", "best_fd": "val/fd" if watched else None}
    common = {"dirpath": run / "checkpoints", "enable_version_counter": False}
    out = [ModelCheckpoint(filename="last", save_top_k=1, **common)]
    if settings["validations"] and (name := monitor.get(settings["keep"])):
        # Whole checkpoints: in weights-only ones Lightning saves the raw weights, not the average.
        out.append(ModelCheckpoint(filename="best", monitor=name, **common))
    return out


def strategy(name: str, model: GenerativeModule) -> Any:
    """Lightning's strategy; one that trains by hand leaves parameters unused in each backward
    pass."""
    known = ("auto", "ddp", "ddp_cpu")
    if name not in known:
        raise unknown("strategy", name, known)
    if name == "auto":
        return "auto"
    from lightning.pytorch.strategies import DDPStrategy

    return DDPStrategy(
        process_group_backend="gloo" if name == "ddp_cpu" else None,
        find_unused_parameters=not model.automatic_optimization,
    )


def loggers(config: dict[str, Any], run: RunDir) -> list | bool:
    """The loggers chosen beside the run's own log."""
    chosen = [node for node in config["logger"].values() if node]
    return [build.make({**node, "save_dir": str(run.path)}, "logger") for node in chosen] or False


def finish(
    config: dict[str, Any],
    run: RunDir,
    model: GenerativeModule,
    data: DataModule,
    trainer: L.Trainer,
) -> None:
    """Keep the chosen weights, show the model some data, render a preview, mark the run done."""
    best = run / "checkpoints" / "best.ckpt"
    if best.exists():
        state = torch.load(best, map_location="cpu", weights_only=True)
        model.load_state_dict(state["state_dict"])
    if not all(torch.isfinite(p).all() for p in model.parameters()):
        raise FloatingPointError("the weights are not finite: the run has diverged, lower the rate")
    model.eval()
    seen, y = data.store.examples("train", 4096)
    model.observe(seen.to(model.device), None if y is None else y.to(model.device))
    save_weights(model, run / "checkpoints")
    log = next(c for c in trainer.callbacks if isinstance(c, Log))
    space = data.store.space
    facts = {
        "space": asdict(space),
        "data": data.store.meta,
        "examples": log.examples,
        "train_seconds": round(log.seconds, 3),
        "parameters": sum(p.numel() for p in model.parameters()),
        "trained_parameters": sum(p.numel() for p in model.parameters() if p.requires_grad),
        "nets": build.blueprints(config, model),
        "given": "caption" if space.caption else "class" if space.classes else "",
        "device": str(trainer.strategy.root_device),
    }
    run.mark("running", **facts)
    preview(config, run, data, trainer)
    run.mark("done")


def preview(config: dict[str, Any], run: RunDir, data: DataModule, trainer: L.Trainer) -> None:
    """A few samples beside real data, in the run's folder and in the loggers."""
    n = config["trainer"]["preview"]
    if not n:
        return
    Run(run, str(trainer.strategy.root_device)).sample(n).save(run / "samples" / "preview")
    real = Samples(*data.store.examples("test", n), data.store.codec)
    real.save(run / "samples" / "real")
    for logger in trainer.loggers:
        log_media(logger, sorted((run / "samples" / "preview").iterdir()))
        logger.finalize("success")


def log_media(logger: Any, files: list[Path]) -> None:
    """Rendered samples to a logger that can show them."""
    from lightning.pytorch.loggers import TensorBoardLogger, WandbLogger

    pictures = [str(f) for f in files if f.suffix == ".png"]
    sounds = [str(f) for f in files if f.suffix == ".wav"]
    texts = [f.read_text() for f in files if f.suffix in (".txt", ".csv")]
    if isinstance(logger, WandbLogger):
        if pictures:
            logger.log_image("samples", pictures)
        if sounds:
            logger.log_audio("sounds", sounds)
        if texts:
            logger.log_text("text", columns=["samples"], data=[[t] for t in texts])
    elif isinstance(logger, TensorBoardLogger):
        import numpy as np
        from PIL import Image

        for picture in pictures:
            pixels = np.atleast_3d(np.asarray(Image.open(picture)))
            logger.experiment.add_image("samples", pixels, dataformats="HWC")
        for text in texts:
            logger.experiment.add_text("samples", f"```\n{text}\n```")


def main_process() -> bool:
    """Whether this process writes: rank zero, by the variables of Lightning, torchrun and SLURM."""
    ranks = [os.environ.get(k) for k in ("RANK", "LOCAL_RANK", "SLURM_PROCID")]
    return all(rank in (None, "0") for rank in ranks)


def quiet() -> None:
    """Lightning's hints that do not apply to our loaders, out of the way of the progress line."""
    for name in ("lightning.pytorch", "lightning.fabric", "lightning"):
        logging.getLogger(name).setLevel(logging.WARNING)
    for text in (
        "does not have many workers",
        "isinstance.treespec",
        "Checkpoint directory",
        "lr_scheduler.step",
    ):
        warnings.filterwarnings("ignore", message=f".*{text}.*")


def environment() -> dict[str, Any]:
    """What a number may depend on beyond the configuration."""
    from importlib.metadata import version

    names = ("aigc", "torch", "lightning", "hydra-core", "numpy")
    return {
        "command": " ".join(["aigc", *sys.argv[1:]]),
        "commit": _commit(),
        "python": platform.python_version(),
        "versions": {name: version(name) for name in names},
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
        "threads": torch.get_num_threads(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
    }


def _commit() -> str | None:
    command = ["git", "-C", str(Path(__file__).parent), "rev-parse", "--short=12", "HEAD"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    return result.stdout.strip() or None
