"""Does a picture lie nearest to the emoji of its caption? For captions of the training data and
for those that were held out.

python experiments/text_to_image/nearest.py RUN [OUT.png]
"""

import sys

import torch
from draw import draw

import aigc
from aigc.core import caption
from aigc.lab.run import Run

EACH = 8  # pictures a caption


def emoji(run: Run) -> dict[str, list[tuple[str, torch.Tensor]]]:
    """Name and pixels of the emoji that were trained on, and of the others."""
    parts = {}
    for split in ("train", "validation", "test"):
        ids, y = run.store.examples(split, 10_000)
        group = "trained on" if split == "train" else "held out"
        parts.setdefault(group, []).extend(zip(caption.decode(y), ids.float().flatten(1)))
    return parts


def main(path: str, picture: str | None = None) -> None:
    """Shares of pictures whose nearest emoji (squared error) has the caption, its colour, its
    shape."""
    run = aigc.load(path)
    guided = run.config["model"].get("label_dropout")
    sampler = run.sampler("ddim", guidance=2.0) if guided else run.sampler()
    parts = emoji(run)
    names, pixels = zip(*(item for part in parts.values() for item in part))
    print(f"chance: {1 / len(names):.3f}\n\n| captions | n | whole | colour | shape |")
    print("|---|---|---|---|---|")
    for group, items in parts.items():
        right = torch.zeros(3)
        for k, (name, _) in enumerate(items):
            made = run.sample(EACH, seed=k, y=name, sampler=sampler).ids.float().flatten(1)
            for i in torch.cdist(made, torch.stack(pixels)).argmin(1).tolist():
                same = [a == b for a, b in zip(names[i].split()[-2:], name.split()[-2:])]
                right += torch.tensor([all(same), *same]).float()
        shares = " | ".join(f"{x:.3f}" for x in (right / EACH / len(items)).tolist())
        print(f"| {group} ({len(items)}) | {EACH * len(items)} | {shares} |")
    if picture:
        shown = [name for name, _ in parts["trained on"][:4] + parts["held out"]]
        draw({"diffusion": (run, sampler)}, shown, picture)


if __name__ == "__main__":
    main(*sys.argv[1:])
