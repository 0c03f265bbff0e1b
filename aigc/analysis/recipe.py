"""What runs of one line of a table have in common, and in what lines differ."""

import json
from typing import Any

from aigc.core.errors import unknown
from aigc.runs import paid, switched_on

DROPPED = {"seed", "study", "logger", "sampler", "plugins"}  # what runs of one line may differ in
SHOWN = 4  # settings named at most


def recipe(config: dict[str, Any]) -> str:
    """The configuration without what seeds, names and places differ in, and what is off."""
    kept = {k: v for k, v in switched_on(config).items() if k not in DROPPED}
    return json.dumps(kept, sort_keys=True)


def picked(config: dict[str, Any], names: list[str]) -> str:
    """The values of some settings: `lr=0.001 hidden=64`; BadInput for one that is not there."""
    flat = _flat(config)
    for name in names:
        if name not in flat:
            raise unknown("setting to compare by", name, list(flat))
    return " ".join(f"{_leaf(name, names)}={_value(flat[name])}" for name in names)


def varied(configs: list[dict[str, Any]]) -> list[str]:
    """The settings in which some configurations differ, besides the seed."""
    flats = [_flat(config) for config in configs]
    keys = dict.fromkeys(key for flat in flats for key in flat)
    return [k for k in keys if len({str(flat.get(k)) for flat in flats}) > 1]


def side_by_side(configs: list[dict[str, Any]]) -> dict[str, list[str]]:
    """Every setting in which configurations differ, with each one's value; a dash where it has no
    such setting."""
    flats = [_flat(config) for config in configs]
    return {
        key: [str(flat[key]) if key in flat else "–" for flat in flats]
        for key in varied(configs)
        if not key.endswith(("_target_", "_partial_"))
    }


def differences(configs: list[dict[str, Any]], samplers: list[str]) -> list[str]:
    """For each of some lines the settings, of run and sampler, that not all have: `lr=0.001`."""
    facts = [{**_flat(c), **_settings(s)} for c, s in zip(configs, samplers)]
    keys = dict.fromkeys(key for fact in facts for key in fact)
    keys = [k for k in keys if len({str(fact.get(k)) for fact in facts}) > 1][:SHOWN]
    return [" ".join(f"{_leaf(k, keys)}={_value(fact.get(k))}" for k in keys) for fact in facts]


def _value(value: Any) -> Any:
    """`off` for what is not set; six digits of a number."""
    if isinstance(value, float):
        return f"{value:.6g}"
    return "off" if value is None else value


def _settings(sampler: str) -> dict[str, str]:
    """`ddim steps=5` as a dictionary."""
    name, *words = sampler.split(" ")
    pairs = (word.split("=", 1) for word in words if "=" in word)
    return {"sampler": name, **{f"sampler.{key}": value for key, value in pairs}}


def _flat(node: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """The leaves of a configuration by their dotted names."""
    out: dict[str, Any] = {}
    for key, value in node.items():
        if not prefix and key in DROPPED:
            continue
        if isinstance(value, dict):
            out |= _flat(value, f"{prefix}{key}.")
        else:
            out[f"{prefix}{key}"] = value
    return out


def _leaf(key: str, keys: list[str]) -> str:
    """The last part of a dotted name, or all of it where that is not clear."""
    leaf = key.rpartition(".")[2]
    return leaf if sum(k.rpartition(".")[2] == leaf for k in keys) == 1 else key


def matched(lines: dict[str, list[Any]]) -> list[str]:
    """In what the runs of each line were matched, where that is not the examples they saw; once
    where it is the same for all."""
    own = {title: {paid(r.config) for r in records} - {""} for title, records in lines.items()}
    told = set().union(*own.values())
    if len(told) == 1 and all(own.values()):
        return [f"All models: {told.pop()}."]
    return [f"{title}: {', '.join(sorted(marks))}." for title, marks in own.items() if marks]
