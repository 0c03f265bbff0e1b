"""Where the configuration lives, and how it is read. Light: help and mistakes answer from here."""

import json
import os
from pathlib import Path
from typing import Any

import yaml

from aigc.core.errors import BadInput
from aigc.runs import RunDir

USAGE = {
    "train": "aigc train model=M modality=D [setting=value ...]      one run; -m for a sweep",
    "sample": "aigc sample run=DIR [setting=value ...]      samples of a finished run",
    "evaluate": "aigc evaluate run=DIR [setting=value ...]      judge a run, or those of a study",
    "inspect": "aigc inspect run=DIR [setting=value ...]      look inside a run or a study",
    "robustness": "aigc robustness run=DIR [setting=value ...]    loss under attacks and noise",
}


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


def compose(name: str, words: list[str]) -> dict[str, Any]:
    """The resolved configuration `name` under overrides, as plain containers (for Python and
    tests)."""
    from hydra import compose as compose_hydra
    from hydra import initialize_config_dir

    from aigc.lab.schema import register

    register()
    places = [f'hydra.searchpath=["file://{folder}"]' for folder in own]
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        config = compose_hydra(name, overrides=[*words, *places])
    return resolved(config)


def resolved(config: Any) -> dict[str, Any]:
    """A composed configuration as plain containers; where its widths follow from a number of
    parameters, with those."""
    from omegaconf import OmegaConf

    plain = OmegaConf.to_container(config, resolve=True, throw_on_missing=True)
    if plain.get("budget", {}).get("by") != "params":
        return plain
    from aigc.lab.budget import matched

    return matched(config)


def samplers_of(family: str) -> list[str]:
    """Names of the samplers that fit a family."""
    nodes = {name: yaml.safe_load(f.read_text()) for name, f in files_of("sampler").items()}
    return [name for name, node in nodes.items() if family in node["families"]]


def describe(node: dict[str, Any]) -> str:
    """`ddim steps=50 eta=0.0`; what is null is off and left out."""
    hidden = ("name", "_target_", "families")
    fields = [f"{k}={v}" for k, v in node.items() if k not in hidden and v is not None]
    return " ".join([node["name"], *fields])


def run_words(config: dict[str, Any], words: list[str]) -> list[str]:
    """Overrides that tell `sample` and `evaluate` what a run's configuration says: its family,
    and its sampler with its settings unless `words` choose one."""
    out = [f"model.name={config['model']['name']}"]
    if any(word.startswith("sampler=") for word in words):
        return out
    sampler = dict(config["sampler"])
    out.append(f"sampler={sampler.pop('name')}")
    settings = {k: v for k, v in sampler.items() if k not in ("_target_", "families")}
    return out + [f"sampler.{key}={json.dumps(value)}" for key, value in settings.items()]


def with_run(words: list[str]) -> list[str]:
    """The words, preceded by what the run's own configuration says."""
    given = dict(word.split("=", 1) for word in words if "=" in word and not word.startswith("-"))
    if not given.get("run"):
        raise BadInput("say which run: run=DIR, the folder that `aigc train` printed last")
    config = RunDir.finished(given["run"].strip("'\"")).config
    return run_words(config, words) + words


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


def usage(name: str) -> str:
    """The text of `aigc <name> --help`."""
    source = (conf_dir() / f"{name}.yaml").read_text()
    body = source.split("_self_")[1].split("hydra:")[0].strip().splitlines()
    settings = [
        line for line in body if not line.startswith((" ", "-", "plugins", "model:", "view"))
    ]
    lines = [
        USAGE[name],
        "",
        "Settings",
        *("  " + line.replace("???", "(required)") for line in settings if line),
    ]
    if name == "train":
        lines += ["", "Choices", *_columns(choices())]
    elif name in ("sample", "evaluate"):
        groups = {"sampler": choices()["sampler"]}
        if name == "sample":
            groups["edit"] = list(files_of("edit"))
        lines += ["", "Choices", *_columns(groups)]
    lines += ["", f"Any setting can be overridden; `aigc {name} --cfg job` prints them all."]
    return "\n".join(lines)


def _columns(groups: dict[str, list[str]]) -> list[str]:
    import textwrap

    width = max(map(len, groups)) + 4
    return [
        textwrap.fill(
            ", ".join(names),
            92,
            initial_indent=f"  {group:<{width - 2}}",
            subsequent_indent=" " * width,
        )
        for group, names in groups.items()
        if names
    ]
