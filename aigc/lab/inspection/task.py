"""`aigc inspect`: what a run has learned inside, as numbers, pictures and one page."""

import json
import sys
from pathlib import Path
from typing import Any

from aigc.analysis.inside import Part, study_page, write_page
from aigc.core.errors import BadInput, unknown
from aigc.lab import build
from aigc.lab.inspection import latents, probes, tokens
from aigc.lab.inspection.look import Look
from aigc.lab.run import Run, load
from aigc.runs import RunDir, write_atomic

PARTS = {
    "code": latents.code,
    "traversal": latents.traversal,
    "factors": latents.factors,
    "attributes": latents.attributes,
    "probes": probes.probes,
    "surprisal": tokens.surprisal,
    "attention": tokens.attention,
}


def main(words: list[str]) -> None:
    """Inspect the run of `run=DIR`, or every run of a study and, where it has a curve of rate and
    distortion, the study; print the page of each."""
    from aigc.lab.conf import compose

    if not any(word.startswith("run=") and word != "run=" for word in words):
        raise BadInput("say which run: run=DIR, the folder that `aigc train` printed last")
    config = compose("inspect", words)
    build.plugins(config)
    folder = Path(config["run"])
    if (folder / "config.yaml").is_file() or not (runs := RunDir.below(folder)):
        print(inspect(load(folder), config) / "index.html", flush=True)
        return
    runs = [run for run in runs if run.is_done]
    for i, run in enumerate(runs, 1):
        print(f"{i}/{len(runs)}  {run}", file=sys.stderr, flush=True)
        print(inspect(load(run.path), config) / "index.html", flush=True)
    if page := study_page(folder, runs):
        print(page)


def inspect(run: Run, config: dict[str, Any]) -> Path:
    """Write `inspect/` in the run's folder, anew: inspect.json, PNGs and index.html."""
    wanted = config["what"] or list(PARTS)
    if wrong := [name for name in wanted if name not in PARTS]:
        raise unknown("part for what", wrong[0], PARTS)
    if config["n"] < 20:
        raise BadInput(f"n={config['n']}: at least 20 examples")
    look = Look(run, config["n"], config["seed"])
    parts = seen(look, wanted, bool(config["what"]))
    folder = run.dir / "inspect"
    numbers = {"protocol": protocol(look), "parts": {k: p.numbers for k, p in parts.items()}}
    write_atomic(folder / "inspect.json", json.dumps(numbers, indent=1))
    write_page(folder, f"Inside {run.dir.path.name}", lead(look), list(parts.values()))
    return folder


def seen(look: Look, wanted: list[str], strict: bool) -> dict[str, Part]:
    """The parts that there are; one that cannot be made is an error where it was asked for, else a
    line on stderr."""
    parts = {}
    for name in wanted:
        try:
            parts[name] = PARTS[name](look)
        except BadInput as error:
            if strict:
                raise
            print(f"without {name}: {error}", file=sys.stderr)
    parts = {name: part for name, part in parts.items() if part is not None}
    if not parts:
        raise BadInput(f"what={wanted}: nothing of that can be seen in a {look.run.model.name}")
    return parts


def protocol(look: Look) -> dict[str, Any]:
    """What the numbers were measured on."""
    meta, model = look.run.store.meta, look.run.config["model"]
    return {
        "run": look.run.dir.path.name,
        "data": f"{meta['name']}/test#{meta['hash']}",
        "n": len(look.ids),
        "seed": look.seed,
        "ema": model.get("ema"),
    }


def lead(look: Look) -> str:
    """The line under the title."""
    model, facts = look.run.config["model"]["name"], protocol(look)
    told = ", told their labels" if look.y is not None else ""
    return f"{model} on {facts['data']}, {facts['n']} examples{told}; seed {look.seed}."
