"""Standard sets of sounds, and your own folder."""

import numpy as np

from aigc.data.datasets import Source, dataset, locate
from aigc.data.files import SOUNDS, own_path, read_sound, readable, walk_classes


@dataset(
    "audio",
    licence="CC BY-SA 4.0",
    splits="train/test",
    classes=10,
    places=("audio/fsdd/recordings", "fsdd/recordings"),
    hint="clone github.com/Jakobovski/free-spoken-digit-dataset there",
)
def fsdd() -> Source:
    """Free spoken digits: 3,000 recordings of six speakers, 8 kHz (Jackson 2016)."""
    folder = locate("fsdd")
    # The official test split is takes 0 to 4.
    parts, labels = {"train": [], "test": []}, {"train": [], "test": []}
    for file in sorted(folder.glob("*.wav")):
        digit, _, take = file.stem.split("_")
        split = "test" if int(take) < 5 else "train"
        parts[split].append(read_sound(file))
        labels[split].append(int(digit))
    return Source(parts, {s: np.array(y) for s, y in labels.items()}, [str(i) for i in range(10)])


@dataset("audio", kind="own", licence="yours")
def audio_folder(path: str | None = None, skip: float | str | None = None) -> Source:
    """Any folder of wav, flac, ogg or mp3 files; sub-folders are classes (`dataset.path=DIR`)."""
    root = own_path(path, "audio_folder", "folder")
    files, y, names = walk_classes(root, SOUNDS)
    kept, sounds, skipped = readable(files, read_sound, skip)
    labels = {"train": y[kept]} if len(names) > 1 else {}
    return Source({"train": sounds}, labels, names if labels else [], skipped=skipped)
