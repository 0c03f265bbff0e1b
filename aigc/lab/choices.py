"""What there is to choose from: the files of configurations, ours and the user's own."""

import os
from pathlib import Path

import yaml

from aigc.core.errors import BadInput


def conf_dir() -> Path:
    """The folder of configurations: `AIGC_CONF`, else in the wheel, else in the checkout."""
    here = Path(__file__).resolve().parents[1]
    places = [here / "conf", here.parent / "conf"]
    if "AIGC_CONF" in os.environ:
        places = [Path(os.environ["AIGC_CONF"])]
    for place in places:
        if (place / "train.yaml").is_file():
            return place.resolve()
    raise FileNotFoundError(f"no configuration: looked for train.yaml in {places}")


own: list[Path] = []  # the user's folder of configurations, where the command line names one


def take_own(words: list[str]) -> list[str]:
    """The words without `--config-dir DIR`, which from now on adds to what there is to choose from;
    without the flag nothing is added. BadInput where DIR is no folder."""
    own.clear()
    rest = iter(words)
    left = []
    for word in rest:
        flag, given, folder = word.partition("=")
        if flag not in ("--config-dir", "-cd"):
            left.append(word)
            continue
        folder = folder if given else next(rest, "")
        if not Path(folder or "?").is_dir():
            raise BadInput(f"--config-dir needs a folder, and '{folder}' is none")
        own[:] = [Path(folder).resolve()]
    return left


def files_of(group: str) -> dict[str, Path]:
    """The file of each choice in a group, the user's too; of two of one name ours, as for Hydra."""
    files = [file for root in (*own, conf_dir()) for file in (root / group).glob("*.yaml")]
    return dict(sorted((file.stem, file) for file in files))


def samplers_of(family: str) -> list[str]:
    """Names of the samplers that fit a family."""
    nodes = {name: yaml.safe_load(f.read_text()) for name, f in files_of("sampler").items()}
    return [name for name, node in nodes.items() if family in node["families"]]


def choices() -> dict[str, list[str]]:
    """What each configuration group offers, in the order of `train.yaml`."""
    root = conf_dir()
    groups = [
        next(iter(d)).removeprefix("override ")
        for d in yaml.safe_load((root / "train.yaml").read_text())["defaults"]
        if isinstance(d, dict)
    ]
    folders = [p for group in ("net", "model") for p in sorted((root / group).iterdir())]
    nested = [f"{p.parent.name}/{p.name}" for p in folders if p.is_dir()]
    return {group: list(files_of(group)) for group in [*groups, *nested]}
