"""Test likelihood of one run by importance weighting, written to `nats.npz` in its folder.

    python experiments/mnist_vae_ladder/measure.py RUN [N] [FEW]

1,000 latents for each of N test digits drawn at random, FEW for all 10,000; the difference of both
on the N tells what 1,000 latents would give on all.
"""

import sys

import numpy as np
import torch

import aigc
from aigc.core.rng import seeds
from aigc.lab.callbacks import reseed

MANY, BATCH = 1000, 500


def nats(run, ids: torch.Tensor, draws: int) -> np.ndarray:
    """The bound of each example with `draws` latents."""
    run.model.draws = draws
    parts = []
    for i, part in enumerate(ids.split(BATCH)):
        reseed(seeds(0, draws, i), run.model.device)
        with torch.no_grad():
            parts.append(run.model.nats(run.model.view.encode(part), None).double())
    return torch.cat(parts).numpy()


def main(path: str, n: int = 1000, few: int = 20) -> None:
    """Measure and store."""
    run = aigc.load(path, device="cpu")
    ids = torch.from_numpy(run.store.ids("test").astype("int64"))
    rows = np.sort(np.random.RandomState(0).permutation(len(ids))[:n])
    many, all_ = nats(run, ids[rows], MANY), nats(run, ids, few)
    one = nats(run, ids, 1)
    np.savez(run.dir / "nats.npz", rows=rows, many=many, few=all_, one=one)
    gap = many - all_[rows]
    print(
        f"ELBO {one.mean():.2f}, {few} latents {all_.mean():.2f}, {MANY} on {n}: {many.mean():.2f}"
    )
    print(f"all by {MANY}: {all_.mean() + gap.mean():.2f} +- {gap.std() / n**0.5:.3f}", flush=True)


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:]))
