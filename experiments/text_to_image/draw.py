"""Pictures of captions, eight a row.

python experiments/text_to_image/draw.py RUN OUT.png "red heart" "grinning face" ...
"""

import sys
from typing import Any

import numpy as np

import aigc
from aigc.lab.run import Run


def main(words: list[str]) -> None:
    """Draw the captions that a run was given, with guidance where it has learned it."""
    run, out, *captions = words
    loaded = aigc.load(run)
    guided = loaded.config["model"].get("label_dropout")
    sampler = loaded.sampler("ddim", guidance=2.0) if guided else loaded.sampler()
    draw({loaded.config["model"]["name"]: (loaded, sampler)}, captions, out)


def draw(runs: dict[str, tuple[Run, Any]], captions: list[str], path: str) -> None:
    """A row a caption, a column a run with its sampler."""
    import matplotlib.pyplot as plt

    size = (2.5 + 5 * len(runs), 0.5 + 0.7 * len(captions))
    figure, axes = plt.subplots(len(captions), len(runs), figsize=size, squeeze=False)
    for column, (name, (run, sampler)) in enumerate(runs.items()):
        axes[0][column].set_title(name)
        for row, caption in enumerate(captions):
            pictures = run.sample(8, seed=row, y=caption, sampler=sampler).data
            edges = ((0, 0), (1, 1), (1, 1), (0, 0))
            strip = np.pad(pictures.transpose(0, 2, 3, 1), edges, constant_values=200)
            axis = axes[row][column]
            axis.imshow(np.concatenate(list(strip), axis=1), interpolation="nearest")
            axis.set(xticks=[], yticks=[])
            if column == 0:
                axis.set_ylabel(caption, rotation=0, ha="right", va="center")
    figure.tight_layout()
    figure.savefig(path, dpi=100)
    plt.close(figure)


if __name__ == "__main__":
    main(sys.argv[1:])
