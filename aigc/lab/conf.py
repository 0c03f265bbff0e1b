"""How configurations are put together. Light: help and mistakes answer from here."""

import json
from typing import Any

from aigc.core.errors import BadInput
from aigc.lab.choices import choices, conf_dir, files_of, own
from aigc.runs import RunDir

USAGE = {
    "train": "aigc train model=M modality=D [setting=value ...]      one run; -m for a sweep",
    "sample": "aigc sample run=DIR [setting=value ...]      samples of a finished run",
    "evaluate": "aigc evaluate run=DIR [setting=value ...]      judge a run, or those of a study",
    "inspect": "aigc inspect run=DIR [setting=value ...]      look inside a run or a study",
    "robustness": "aigc robustness run=DIR [setting=value ...]    loss under attacks and noise",
}


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
    from aigc.lab.widths import matched

    return matched(config)


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
