"""Batches of 128 of 28 x 28 pictures as floats in [-1, 1] with labels, from memory."""

import numpy as np
import torch

from aigc.lab.bench import case

N, BATCH = 10_000, 128


@case("data", unit="items/s", count=N, seconds=0.5)
def data():
    """One shuffled pass over 10,000 pictures."""
    raw = np.random.default_rng(0).integers(0, 256, (N, 1, 28, 28), np.uint8)
    labels = np.arange(N) % 10

    def aigc():
        from aigc.core.spec import Space
        from aigc.core.views import Grid
        from aigc.data.datamodule import Indices, Resident

        view = Grid(Space((1, 28, 28), 256))
        batches = Resident(raw, labels, Indices(N, BATCH, N, seed=0), "cpu")

        def step() -> None:
            for batch in batches:
                view.encode(batch.ids)

        return step

    def torchvision(workers: int):
        def make():
            from torch.utils.data import DataLoader
            from torchvision import transforms
            from torchvision.datasets import MNIST

            class Given(MNIST):
                """Its own items, of pictures in memory."""

                def __init__(self, transform):
                    self.data, self.targets = torch.from_numpy(raw[:, 0]), torch.from_numpy(labels)
                    self.transform, self.target_transform = transform, None

            to = transforms.Compose([transforms.ToTensor(), transforms.Normalize((0.5,), (0.5,))])
            batches = DataLoader(Given(to), BATCH, shuffle=True, num_workers=workers)

            def step() -> None:
                for _ in batches:
                    pass

            return step

        return make

    return {
        "aigc": aigc,
        "torchvision": torchvision(0),
        "torchvision, 2 workers": torchvision(2),
    }
