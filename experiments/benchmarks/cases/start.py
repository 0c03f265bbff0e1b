"""How long a command takes; no peers, but targets: help 0.5 s, list 1 s, first step 8 s."""

import os
import re
import subprocess
import sys
import tempfile
import time

from aigc.lab.bench import case


def command(*words: str):
    """A step that runs `aigc words` and waits."""

    def step() -> None:
        env = {**os.environ, "AIGC_RUNS": tempfile.mkdtemp()}
        subprocess.run([sys.executable, "-m", "aigc", *words], check=True, env=env,
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # fmt: skip

    return lambda: step


@case("start_help", unit="s", light=True)
def start_help():
    """`aigc --help`."""
    return {"aigc": command("--help")}


@case("start_list", unit="s", light=True)
def start_list():
    """`aigc list`."""
    return {"aigc": command("list")}


@case("start_train", unit="s", light=True)
def start_train():
    """`aigc train` to its first step, data prepared before."""

    def step() -> float:
        env = {**os.environ, "AIGC_RUNS": tempfile.mkdtemp()}
        words = ["train", "model=vae", "modality=image", "budget=smoke", "budget.examples=1000"]
        start = time.perf_counter()
        found = subprocess.Popen([sys.executable, "-m", "aigc", *words, "trainer.preview=0"],
                                 env=env, stderr=subprocess.PIPE, text=True,
                                 stdout=subprocess.DEVNULL)  # fmt: skip
        for line in found.stderr:
            if re.search(r"\d+/1,\d+", line):
                seconds = time.perf_counter() - start
                break
        found.communicate()
        return seconds

    return {"aigc": lambda: step}
