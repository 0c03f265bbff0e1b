"""Standard sets of pictures, and your own folder.

Official files are used where they lie below the data root (`AIGC_DATA`), and downloaded by
torchvision where it can. A variant that is not the official set (recompressed, re-split, cut)
has a name of its own, so that no score is taken for the published one.
"""

import io
import pickle
import shutil
from pathlib import Path
from typing import Any

import numpy as np

from aigc.core.errors import BadInput
from aigc.data.datasets import DATASETS, Source, data_root, dataset, locate, missing
from aigc.data.files import own_path, read_idx, read_pictures

_CIFAR10 = "airplane automobile bird cat deer dog frog horse ship truck".split()
_FASHION = "t-shirt trouser pullover dress coat sandal shirt sneaker bag boot".split()


@dataset(
    "image",
    licence="CC BY-SA 3.0",
    splits="train/test",
    classes=10,
    places=("image/mnist/MNIST", "mnist/MNIST", "MNIST"),
    hint="put the official files in MNIST/raw there, or connect to the network once",
)
def mnist() -> Source:
    """MNIST: 60,000 + 10,000 handwritten digits, 28 x 28 (LeCun et al. 1998)."""
    return _torchvision("mnist", "MNIST", [str(i) for i in range(10)])


@dataset(
    "image",
    licence="CC BY-SA 3.0",
    splits="train/validation/test",
    places=("image/mnist/MNIST", "mnist/MNIST", "MNIST"),
    hint="put the official files of MNIST in MNIST/raw there, or connect to the network once",
)
def binarized_mnist(seed: int = 0) -> Source:
    """MNIST in black and white, 50,000 + 10,000 + 10,000: every pixel is drawn once with its
    grey as probability (Salakhutdinov & Murray 2008).

    A draw of our own (numpy's RandomState, `seed`), not the file that Larochelle shared. The last
    10,000 training digits are the validation split. Without labels, as the published bounds.
    """
    try:
        grey = mnist().parts
    except BadInput as error:
        raise missing(DATASETS["binarized_mnist"]) from error
    halves = {"train": grey["train"][:50_000], "validation": grey["train"][50_000:]}
    draws = np.random.RandomState(seed)
    return Source(
        {
            split: 255 * (255 * draws.random_sample(part.shape) < part).astype(np.uint8)
            for split, part in {**halves, "test": grey["test"]}.items()
        }
    )


@dataset(
    "image",
    licence="MIT",
    splits="train/test",
    classes=10,
    places=("fashion_mnist/FashionMNIST", "FashionMNIST"),
    hint="put the official files in FashionMNIST/raw there, or connect to the network once",
)
def fashion_mnist() -> Source:
    """FashionMNIST: 60,000 + 10,000 pieces of clothing, 28 x 28 (Xiao et al. 2017)."""
    return _torchvision("fashion_mnist", "FashionMNIST", _FASHION)


@dataset(
    "image",
    licence="MIT",
    splits="train/test (not the official ones)",
    classes=10,
    places=tuple(
        f"image/fashionmnist/FashionMNIST/raw/train-images-idx3-ubyte{ending}"
        for ending in ("", ".gz")
    ),
    hint="put the re-split idx files there",
)
def fashion_mnist_resplit() -> Source:
    """FashionMNIST in another order and split: not comparable to published scores."""
    first, parts = locate("fashion_mnist_resplit"), {"train": "train", "test": "t10k"}

    def read(part: str, kind: str) -> np.ndarray:
        return read_idx(first.with_name(f"{part}-{kind}-ubyte{first.suffix}"))

    images = {split: read(part, "images-idx3")[:, None] for split, part in parts.items()}
    labels = {split: read(part, "labels-idx1").astype(int) for split, part in parts.items()}
    return Source(images, labels, _FASHION)


@dataset(
    "image",
    licence="research use",
    splits="train/test",
    classes=10,
    places=("cifar10/cifar-10-batches-py", "cifar-10-batches-py"),
    hint="put the official batches there, or connect to the network once",
)
def cifar10() -> Source:
    """CIFAR-10: 50,000 + 10,000 colour pictures, 32 x 32 (Krizhevsky 2009)."""
    return _torchvision("cifar10", "CIFAR10", _CIFAR10)


@dataset(
    "image",
    licence="research use",
    splits="train/test",
    classes=10,
    places=("image/cifar10/jpeg/train", "cifar10_jpeg/train"),
    hint="unpack the JPEG folders train/<class>/ and test/<class>/ so that they lie there",
)
def cifar10_jpeg() -> Source:
    """CIFAR-10 recompressed as JPEG (quality 75): lossy, not comparable to published scores."""
    folder = locate("cifar10_jpeg").parent
    parts, labels = {}, {}
    for split in ("train", "test"):
        parts[split], labels[split], names, _ = read_pictures(folder / split, None)
    return Source(parts, labels, names)


@dataset(
    "image",
    licence="research use",
    classes=10,
    places=("image/cifar10/exact4k/cifar-10-batches-py/data_batch_1",),
    hint="put CIFAR-10's pickled batch of 4,000 there",
)
def cifar10_4k() -> Source:
    """The first 4,000 training pictures of CIFAR-10, exact pixels: a small set of its own."""
    batch = _Plain(io.BytesIO(locate("cifar10_4k").read_bytes()), encoding="latin1").load()
    pictures = np.asarray(batch["data"], np.uint8).reshape(-1, 3, 32, 32)
    return Source({"train": pictures}, {"train": np.asarray(batch["labels"])}, _CIFAR10)


@dataset("image", kind="own", licence="yours", splits="carved, or folders train/ and test/")
def image_folder(
    path: str | None = None, size: int | None = None, skip: float | str | None = None
) -> Source:
    """Any folder of pictures; sub-folders are classes (`dataset.path=DIR`)."""
    root = own_path(path, "image_folder", "folder")
    splits = [s for s in ("train", "validation", "test") if (root / s).is_dir()]
    if splits and "train" not in splits:
        raise BadInput(f"dataset.path={path} has {' and '.join(splits)} but no train")
    read = {s: read_pictures(root / s, size, skip) for s in splits}
    read = read or {"train": read_pictures(root, size, skip)}
    parts = {split: pictures for split, (pictures, *_) in read.items()}
    skipped = [line for *_, bad in read.values() for line in bad]
    names = read["train"][2]
    for split, (_, _, others, _) in read.items():
        if odd := [name for name in others if name not in names]:
            raise BadInput(f"{root / split} has a class '{odd[0]}' that train has not")
    if len(names) == 1:
        return Source(parts, skipped=skipped)
    labels = {
        split: np.array([names.index(others[i]) for i in y])
        for split, (_, y, others, _) in read.items()
    }
    return Source(parts, labels, names, skipped=skipped)


class _Plain(pickle.Unpickler):
    """Unpickles arrays and nothing that could run code."""

    def find_class(self, module: str, name: str) -> Any:
        if module.split(".")[0] == "numpy" and name in ("_reconstruct", "ndarray", "dtype"):
            return super().find_class(module, name)
        if (module, name) == ("_codecs", "encode"):
            return super().find_class(module, name)
        raise BadInput(f"the pickle asks for {module}.{name}, which is not plain data")


def _torchvision(name: str, cls: str, class_names: list[str]) -> Source:
    """A torchvision set where it lies, unpacked there, or downloaded to the last of its places."""
    from torchvision import datasets

    facts = DATASETS[name]
    root = (facts.found() or data_root() / facts.places[-1]).parent
    load = getattr(datasets, cls)
    for fetch in (False, True):
        try:
            sets = {s: load(root, train=s == "train", download=fetch) for s in ("train", "test")}
        except (RuntimeError, OSError):
            # torchvision makes folders before it downloads
            _remove_empty(root / facts.places[-1].split("/")[-1])
            continue
        return Source(
            {split: _channels_first(np.asarray(s.data)) for split, s in sets.items()},
            {split: np.asarray(s.targets) for split, s in sets.items()},
            class_names,
        )
    raise missing(facts)


def _remove_empty(folder: Path) -> None:
    """Remove `folder` if it holds nothing but empty folders."""
    if folder.is_dir() and not any(path.is_file() for path in folder.rglob("*")):
        shutil.rmtree(folder, ignore_errors=True)


def _channels_first(pictures: np.ndarray) -> np.ndarray:
    return pictures[:, None] if pictures.ndim == 3 else pictures.transpose(0, 3, 1, 2)
