"""`aigc train`: one run from a configuration."""

import logging
import os
import shutil
import sys
import warnings
from dataclasses import asdict
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import EarlyStopping
from lightning.pytorch.utilities.exceptions import MisconfigurationException

from aigc.core.errors import BadInput
from aigc.core.rng import seeds
from aigc.data.augment import Augment
from aigc.data.datamodule import DataModule
from aigc.data.datasets import all_datasets
from aigc.data.store import Store
from aigc.families.base import GenerativeModule
from aigc.lab import build
from aigc.lab.budget import Clock, data_of, spent, tell_large
from aigc.lab.callbacks import EMA, Log, Progress, Seeds
from aigc.lab.check import trust
from aigc.lab.checkpoint import AtomicIO, rehearse
from aigc.lab.environment import environment
from aigc.lab.guards import Guard, Spikes
from aigc.lab.health import Health
from aigc.lab.loggers import loggers
from aigc.lab.loop import shorten
from aigc.lab.memory import Parts
from aigc.lab.probe import KEPT, Probe, kept_metric, wanted
from aigc.lab.resume import begin, ended, losses, starting_point, tell_skipped
from aigc.lab.run import Run, Samples, save_weights
from aigc.lab.signals import Signals, slurm
from aigc.lab.stage import first_stage, keep
from aigc.lab.states import Checkpoints
from aigc.lab.strategy import (
    check_deepspeed,
    gathered,
    is_sharded,
    on_cpu,
    sharded_callbacks,
    strategy,
    weights_in,
)
from aigc.lab.transfer import start_from, told
from aigc.lab.validate import validate
from aigc.lab.verify import digest
from aigc.runs import RunDir, signature

STATE = 2  # changes with what callbacks save: a state of another kind is refused in one line


def train(config: dict[str, Any]) -> RunDir:
    """Train the run of this configuration unless it is done already; returns its folder."""
    build.plugins(config)
    trust(config)
    validate(config)
    run = RunDir.of(config)
    if not main_process():
        return run if run.is_done else fit(config, run)
    with run.held():
        if run.is_done:
            print(f"already trained: {run}", file=sys.stderr)
            if all_datasets()[config["dataset"]["name"]].kind == "own":
                Run(run).store  # noqa: B018  (says so if the files have changed)
            return run
        return fit(config, run)


def untrained(config: dict[str, Any]) -> tuple[Store, Run | None, GenerativeModule]:
    """The data, the first stage if there is one, and the model before its first step."""
    store = build.store(config)
    stage = first_stage(config, store)
    torch.manual_seed(seeds(config["seed"]))
    model = build.model(config, store.space, stage and stage.model)
    if (y := store.labels("train")) is not None:
        model.remember(torch.from_numpy(y))
    return store, stage, model


def fit(config: dict[str, Any], run: RunDir) -> RunDir:
    """Train the run in its folder, from the beginning or from where it was left."""
    quiet()
    store, stage, model = untrained(config)
    begun = start_from(model, config["init"], config["init_freeze"] or [])
    if main_process():
        checkpoint = begin(config, run, environment())
    else:
        checkpoint, _ = starting_point(run, config["resume"])
    trainer = None
    try:
        config, pays = spent(config, run, checkpoint is not None, model, store, make_trainer)
        data = data_of(config, store)
        if main_process():
            if pays:
                run.mark("running", budget=pays)
            tell_large(config["budget"])
            rehearse(run / "checkpoints", sum(p.numel() for p in model.parameters()))
            store.codec.save(run / "codec")
            tell_skipped(run, store)
            if stage:
                shutil.rmtree(run / "view", ignore_errors=True)
                keep(stage.dir, run / "view")
            if begun:
                run.mark("running", init=begun)
                print(told(begun), file=sys.stderr)
        try:
            trainer = make_trainer(config, run, model, store)
        except (ValueError, MisconfigurationException) as error:
            if isinstance(error, BadInput):
                raise
            raise BadInput(f"trainer or strategy: {str(error).splitlines()[0]}") from error
        trainer.fit(model, data, ckpt_path=checkpoint, weights_only=True)
        weights = gathered(model) if is_sharded(config) else None
        if trainer.is_global_zero:
            if weights:
                model = untrained(config)[2].to(trainer.strategy.root_device)
                model.load_state_dict(weights)
            finish(config, run, model, data, trainer)
    except BaseException as error:
        if main_process():
            run.mark("failed", reason=f"{type(error).__name__}: {error}".splitlines()[0])
        if (end := ended(error, trainer)) is error:
            raise
        raise end from error
    finally:
        for logger in trainer.loggers if trainer else []:
            logger.close()
    return run


def make_trainer(
    config: dict[str, Any], run: RunDir, model: GenerativeModule, store: Store
) -> L.Trainer:
    """Lightning's trainer: one long epoch, validation at even intervals, our own log."""
    settings, budget = config["trainer"], config["budget"]
    batches = -(-budget["examples"] // budget["batch_size"])
    log = Log(run / "log.csv", budget["batch_size"], batches, settings["log_points"])
    title = f"{config['model']['name']} on {config['dataset']['name']}"
    seeds_ = Seeds(config["seed"], shared=not settings["compile"])
    callbacks = [seeds_, Augment(build.augmentations(config))]
    if budget["by"] == "seconds":
        clock = Clock(log, budget["amount"])
        callbacks.append(clock)
        model.lr_at = build.lr_schedule(config, lambda: clock.share)
    callbacks.append(log)
    callbacks += [Progress(log, title, budget["batch_size"], batches), Spikes(run, log)]
    clip = config["model"]["clip"] if model.automatic_optimization else None
    scaled = settings["precision"] == "16-mixed"  # its scaler skips steps by itself
    if not scaled:
        callbacks.append(Guard(run, clip))
    if "nats" not in model.provides and settings["validations"]:
        sampler = build.sampler(config["sampler"], config["model"]["name"])
        callbacks.append(Health(store, run, sampler, batches, budget["batch_size"]))
    if (names := wanted(config)) and settings["validations"]:
        sampler = build.sampler(config["sampler"], config["model"]["name"])
        callbacks.append(Probe(store, sampler, names, kept_metric(settings["keep"])))
    own_engine = config["strategy"]["name"] == "deepspeed"
    if own_engine:
        check_deepspeed(model, config)
    if is_sharded(config):
        callbacks += sharded_callbacks(model, config)
    elif config["model"]["ema"]:
        callbacks.append(EMA(config["model"]["ema"]))
    if settings["parts"] and settings["oom"] is None and hasattr(model, "parts"):
        model.parts = settings["parts"]  # it optimises by hand
    elif settings["oom"] == "halve" or settings["parts"]:
        callbacks.append(Parts(run, model, settings["parts"] or 1, settings["oom"] == "halve"))
    callbacks.append(checkpoints(config, run, model, store))
    if settings["patience"] is not None:
        callbacks.append(
            EarlyStopping(
                best_by(config, model) or "val/loss",
                patience=settings["patience"],
                check_on_train_epoch_end=False,
            )
        )
    if settings["compile"]:
        for child in model.children():
            child.compile()
    if settings["channels_last"]:
        model.to(memory_format=torch.channels_last)
    trainer = L.Trainer(
        accelerator="cpu" if on_cpu(config) else settings["accelerator"],
        devices=config["strategy"]["devices"],
        num_nodes=config["strategy"]["nodes"],
        strategy=strategy(config["strategy"]["name"], model),
        precision=settings["precision"],
        max_epochs=1,
        val_check_interval=max(1, batches // max(settings["validations"], 1)),
        limit_val_batches=None if settings["validations"] else 0,
        gradient_clip_val=clip if scaled or own_engine else None,
        callbacks=callbacks,
        logger=loggers(config, run),
        plugins=[AtomicIO(), *slurm()],
        enable_checkpointing=False,
        num_sanity_val_steps=0,
        use_distributed_sampler=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        inference_mode=not is_sharded(config),  # parts are gathered into buffers that training uses
        default_root_dir=run.path,
    )
    return shorten(trainer)


def checkpoints(
    config: dict[str, Any], run: RunDir, model: GenerativeModule, store: Store
) -> Checkpoints:
    """States to go on from, and the weights of the best validation."""
    settings, size = config["trainer"], config["budget"]["batch_size"]
    best = best_by(config, model) if settings["validations"] else None
    facts = {"signature": signature(config), "data": store.meta["hash"], "kind of state": STATE}
    signals = Signals(settings["requeue"])
    states = config["strategy"]["name"] != "deepspeed"
    return Checkpoints(run, size, settings["save_every"], best, facts, signals, states)


def best_by(config: dict[str, Any], model: GenerativeModule) -> str | None:
    """What the best validation is the lowest of: its loss where the family has one, or a metric
    (`best_fd`); None where the last weights are kept."""
    keep, likely = config["trainer"]["keep"], "nats" in model.provides
    metric = kept_metric(keep)
    if metric:
        return KEPT
    return "val/loss" if keep == "best" and likely else None


def finish(
    config: dict[str, Any],
    run: RunDir,
    model: GenerativeModule,
    data: DataModule,
    trainer: L.Trainer,
) -> None:
    """Keep the chosen weights, show the model some data, render a preview, mark the run done."""
    used = {type(c): c for c in trainer.callbacks}
    if best := used[Checkpoints].best_file:
        model.load_state_dict(weights_in(best))
    if not all(torch.isfinite(p).all() for p in model.parameters()):
        raise FloatingPointError("the weights are not finite: the run has diverged, lower the rate")
    model.eval()
    seen, y = data.store.examples("train", 4096)
    model.observe(seen.to(model.device), None if y is None else y.to(model.device))
    save_weights(model, run / "checkpoints")
    log = used[Log]
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
        "weights": digest(run / "checkpoints" / "model.safetensors"),
    }
    run.mark("running", **facts)
    preview(config, run, data, trainer)
    run.mark("done", **losses(used[Log], used.get(Guard), trainer.loggers))
    used[Checkpoints].clear()


def preview(config: dict[str, Any], run: RunDir, data: DataModule, trainer: L.Trainer) -> None:
    """A few samples beside real data, in the run's folder and in the loggers."""
    n = config["trainer"]["preview"]
    if not n:
        return
    Run(run, str(trainer.strategy.root_device)).sample(n).save(run / "samples" / "preview")
    real = Samples(*data.store.examples("test", n), data.store.codec)
    real.save(run / "samples" / "real")
    for logger in trainer.loggers:
        logger.log_media(sorted((run / "samples" / "preview").iterdir()))
        logger.finalize("success")


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
        "is not resumable",
        "lr_scheduler.step",
    ):
        warnings.filterwarnings("ignore", message=f".*{text}.*")
