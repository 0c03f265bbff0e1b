"""Configuration held against the signatures of what it is given to, before anything is called."""

import inspect
import json
import types
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from hydra.utils import get_class

from aigc.core.errors import BadInput, unknown

Config = Mapping[str, Any]

NOT_ARGUMENTS = ("name", "needs", "families")  # facts of model and sampler nodes

# Packages whose classes a run may name; `trust` and build.plugins add a user's.
TRUSTED = {"aigc", "torch.nn", "torch.optim"}


def trust(config: Config) -> None:
    """Runs may name what this configuration of the user's own does."""
    foreign = [str(target) for target in _targets(config) if not _trusted(str(target))]
    TRUSTED.update(target.rpartition(".")[0] for target in foreign)


def check_origin(config: Config, folder: object) -> None:
    """Raise BadInput where the configuration found in a run's `folder` names what the user has
    not: a module to import, or a `_target_` that is no class of a trusted package, by its name and
    by where it is defined."""
    for name in config.get("plugins") or []:
        if not _trusted(name):
            raise BadInput(
                f"{folder} imports a module of its own, {name}: "
                f"if you trust it, say so: plugins=[{name}]"
            )
    kept = {key: value for key, value in config.items() if key != "logger"}
    if "${" in json.dumps(kept, default=str):
        raise BadInput(f"{folder} holds an interpolation, which no run writes")
    for target in _targets(kept):
        if not _trusted(str(target)) or not _trusted(_class(target).__module__):
            among, package = ", ".join(sorted(TRUSTED)), str(target).partition(".")[0]
            raise BadInput(
                f"{folder} names {target}, which is no class of {among}: "
                f"if it is a class that you trust, say so: plugins=[{package}]"
            )


def _trusted(name: str) -> bool:
    """Whether a dotted name lies in a trusted package."""
    return any(f"{name}.".startswith(f"{package}.") for package in TRUSTED)


def _targets(node: Any) -> Iterator[Any]:
    """Every `_target_` in a configuration."""
    children = (
        node.values() if isinstance(node, Mapping) else node if isinstance(node, list) else ()
    )
    if isinstance(node, Mapping) and "_target_" in node:
        yield node["_target_"]
    for child in children:
        yield from _targets(child)


def _class(target: Any) -> type:
    try:
        return get_class(target)
    except Exception as error:  # whatever a made-up name leads to
        raise BadInput(f"there is no class {target}") from error


def check(node: Config, where: str) -> None:
    """Hold the values of a `_target_` node and its children against the target's signature."""
    for key, value in node.items():
        if isinstance(value, Mapping) and "_target_" in value:
            check(value, f"{where}.{key}")
    try:
        target = get_class(node["_target_"])
    except (ImportError, ValueError) as error:
        raise BadInput(f"{where}: there is no class {node['_target_']}") from error
    parameters, hints, takes_any = _signature(target)
    facts = NOT_ARGUMENTS if where in ("model", "sampler") else ()
    for key in [key for key in node if not key.startswith("_") and key not in facts]:
        if key not in parameters and takes_any:
            continue
        if key not in parameters:
            raise unknown(
                f"option of {where}", key, [name for name in parameters if name != "self"]
            )
        hint = hints.get(key, Any)
        if not fits(node[key], hint):
            raise BadInput(f"{where}.{key}={node[key]}: should be {wording(hint)}")


def check_options(options: Config, load: Callable, where: str) -> None:
    """Hold options of a function against its type hints."""
    hints = get_type_hints(load)
    for key, value in options.items():
        if value is not None and not fits(value, hints.get(key, Any)):
            raise BadInput(f"{where}.{key}={value}: should be {wording(hints[key])}")


def takes(target: type, name: str) -> bool:
    """Whether a class's constructor has a parameter of this name."""
    return name in _signature(target)[0]


def _signature(target: type) -> tuple[dict[str, inspect.Parameter], dict[str, Any], bool]:
    """Parameters and type hints of a class, following `**common` to its bases, and whether it takes
    any keyword besides (where `**kwargs` goes to something else)."""
    parameters: dict[str, inspect.Parameter] = {}
    hints: dict[str, Any] = {}
    takes_any = True
    for init in (
        cls.__dict__["__init__"] for cls in target.__mro__[:-1] if "__init__" in cls.__dict__
    ):
        own = inspect.signature(init).parameters
        parameters = {**own, **parameters}
        with suppress(NameError, TypeError):  # a hint that only a type checker can resolve
            hints = {**get_type_hints(init), **hints}
        if not any(p.kind is p.VAR_KEYWORD for p in own.values()):
            takes_any = False
            break
    named = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    return {k: p for k, p in parameters.items() if p.kind in named}, hints, takes_any


def fits(value: Any, hint: Any) -> bool:
    """Whether a plain configuration value suits a type hint."""
    origin = get_origin(hint)
    if hint is Any or isinstance(value, Mapping | list):
        return True
    if origin in (Union, types.UnionType):
        return any(fits(value, option) for option in get_args(hint))
    if origin is Literal:
        return value in get_args(hint)
    if hint is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    if hint is int:
        return isinstance(value, int) and not isinstance(value, bool)
    if hint is type(None):
        return value is None
    return isinstance(value, hint) if hint in (bool, str) else False


def wording(hint: Any) -> str:
    """A hint in words: `one of eps, x0, v`, `a number`, `a whole number or null`."""
    names = {float: "a number", int: "a whole number", bool: "true or false", str: "text"}
    if get_origin(hint) is Literal:
        return f"one of {', '.join(map(str, get_args(hint)))}"
    if get_origin(hint) in (Union, types.UnionType):
        options = [wording(option) for option in get_args(hint) if option in (*names, type(None))]
        return " or ".join(options)
    return names.get(hint, "null" if hint is type(None) else getattr(hint, "__name__", str(hint)))
