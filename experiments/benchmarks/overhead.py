"""What a step of our training loop costs beside the same step in a bare loop.

    python experiments/benchmarks/overhead.py [--steps 300] [--repeats 5]

Both loops run the same model on the same batches with the same optimizer; ours adds all that a run
has on: the trainer, seeds, EMA, gradient clipping, the log, the progress line, checkpoints. They
alternate A B A B; medians and the spread of the ratio are printed as one JSON line a case.
"""

import argparse
import json
import os
import statistics
import tempfile
import time

import lightning as L
import torch

CASES = {
    "small MLP (diffusion on a table)": [
        "model=diffusion",
        "modality=tabular",
        "budget.batch_size=64",
        "budget.hidden=64",
        "budget.depth=1",
    ],
    "transformer of tinyshakespeare_cpu, on pydoc": [
        "model=autoregressive",
        "modality=text",
        "budget.batch_size=12",
        "net.causal_lm.width=128",
        "net.causal_lm.depth=4",
        "net.causal_lm.dropout=0",
    ],
}


def main() -> None:
    """Time each case."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--repeats", type=int, default=5)
    args = parser.parse_args()
    os.environ["AIGC_RUNS"] = tempfile.mkdtemp()
    for name, words in CASES.items():
        bare, ours = [], []
        for _ in range(args.repeats):
            bare.append(bare_loop(words, args.steps))
            ours.append(our_loop(words, args.steps))
        ratios = [o / b for o, b in zip(ours, bare)]
        row = {
            "case": name,
            "bare_ms": round(1e3 * statistics.median(bare), 3),
            "ours_ms": round(1e3 * statistics.median(ours), 3),
            "overhead_ms": round(1e3 * statistics.median(o - b for o, b in zip(ours, bare)), 3),
            "ratio": round(statistics.median(ratios), 3),
            "ratio_min_max": [round(min(ratios), 3), round(max(ratios), 3)],
            "threads": torch.get_num_threads(),
        }
        print(json.dumps(row), flush=True)


def configured(words: list[str], steps: int):
    """The configuration, data and a fresh model of a case."""
    from aigc.lab import build
    from aigc.lab.conf import compose

    batch = int(next(w for w in words if "batch_size" in w).split("=")[1])
    config = compose("train", [*words, f"budget.examples={steps * batch}", "trainer.preview=0"])
    store = build.store(config)
    torch.manual_seed(0)
    return config, store, build.model(config, store.space)


def bare_loop(words: list[str], steps: int) -> float:
    """Seconds a step: forward, backward, optimizer; nothing else."""
    from aigc.data.datamodule import DataModule

    config, store, model = configured(words, steps)
    data = DataModule(store, config["budget"]["batch_size"], config["budget"]["examples"])
    optimizer = model.configure_optimizers()["optimizer"]
    clock = None
    for i, batch in enumerate(data.train_dataloader()):
        if i == steps // 5:  # warm
            clock = time.perf_counter()
        loss = model.loss(model.view.encode(batch.ids), batch.y).value
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return (time.perf_counter() - clock) / (steps - steps // 5)


class Clock(L.Callback):
    """Times the steps after the first fifth."""

    def __init__(self, steps: int):
        self.steps, self.seconds = steps, 0.0

    def on_train_batch_start(self, trainer, module, batch, index) -> None:
        if index == self.steps // 5:
            self.start = time.perf_counter()

    def on_train_batch_end(self, trainer, module, outputs, batch, index) -> None:
        if index == self.steps - 1:
            self.seconds = (time.perf_counter() - self.start) / (self.steps - self.steps // 5)


def our_loop(words: list[str], steps: int) -> float:
    """Seconds a step of a whole run, its log, average, progress and checkpoints on.

    Validation, which a bare loop has not, is moved to the end.
    """
    from aigc.data.datamodule import DataModule
    from aigc.lab.training import make_trainer, quiet
    from aigc.runs import RunDir

    quiet()
    config, store, model = configured([*words, "trainer.validations=1"], steps)
    run = RunDir.of(config)
    run.start(config, {})
    trainer = make_trainer(config, run, model, store)
    clock = Clock(steps)
    trainer.callbacks.append(clock)
    data = DataModule(store, config["budget"]["batch_size"], config["budget"]["examples"])
    trainer.fit(model, data)
    return clock.seconds


if __name__ == "__main__":
    main()
