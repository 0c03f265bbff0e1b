"""`aigc <task> ...`: the first word picks a task, Hydra or the task itself reads the rest.

Nothing heavy is imported before the task needs it, so help and mistakes answer at once.
"""

import errno
import os
import re
import sys
from collections.abc import Callable
from importlib import import_module

from aigc.core.errors import BadInput, SweepFailed, nearest
from aigc.runs import NotARun

HELP = """\
aigc: train, sample and judge four families of generative models by one protocol

  aigc train model=M modality=D [dataset=..] [budget=smoke|small|paper] [seed=..] [study=..]
  aigc plan [-m] ...                    what `aigc train ...` would cost: parameters, time, disk
  aigc sweep status|table DIR|STUDY     cells of `aigc train -m`: what is done, and one table
  aigc sample run=DIR [n=16] [seed=0] [y=LABEL] [sampler=..] [out=DIR] [batch_size=..]
  aigc evaluate run=DIR [n=..] [seed=0] [sampler=..]        a run, or every run of a study
  aigc compare DIR... [--out DIR]       a page that compares runs, from their folders alone
  aigc inspect run=DIR                  look inside a run, or those of a study
  aigc robustness run=DIR               loss under attacks, noise and corruption
  aigc export RUN DIR                   a folder that transformers or diffusers loads
  aigc runs [clean] [DIR]               runs with state, cost and disk; clean: what no result needs
  aigc verify DIR...                    says what is damaged in runs
  aigc figure [NAME|all] [budget=..]    a paper's figure, with a verdict on each of its claims
  aigc demo                             four families on handwritten digits, judged and compared
  aigc list [datasets|models|samplers|metrics|nets|experiments|sweeps]
  aigc doctor                           versions, devices, optional parts, data found
  aigc bench [NAME] [--vs PEERS]        speed beside other libraries and the machine's limits

  M is one of `aigc list models`; D is text, image, audio or tabular. Sweep with -m: aigc train
  -m model=vae,gan seed=0,1,2. Any setting can be overridden: optimizer.lr=1e-4 model.predict=eps.
  `aigc train --cfg job` prints them all, `aigc train --help` lists the choices.

  --config-dir DIR adds configurations of your own to every task.

  Folders: AIGC_RUNS (default ./runs), AIGC_DATA (./data), AIGC_CACHE (~/.cache/aigc).
"""


def main() -> None:
    """Run a task; bad input is one line on stderr and exit code 2."""
    words = sys.argv[1:]
    if not words or words[0] in ("-h", "--help", "help"):
        print(HELP, end="")
        return
    if words[0] in ("-V", "--version"):
        from aigc import __version__

        print(f"aigc {__version__}")
        return
    try:
        if words[0] not in TASKS:
            hint = nearest(words[0], TASKS)
            raise BadInput(f"unknown task '{words[0]}': choose from {', '.join(TASKS)}{hint}")
        from aigc.lab.choices import take_own

        TASKS[words[0]](take_own(words[1:]))
    except (BadInput, NotARun) as error:
        fail(str(error))
    except BrokenPipeError:  # `aigc list | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except SweepFailed as error:
        print(f"aigc: {error}", file=sys.stderr)
        sys.exit(1)
    except FloatingPointError as error:  # a run that diverged: nobody's mistake, and not done
        print(f"aigc: {error}", file=sys.stderr)
        sys.exit(1)
    except MemoryError as error:  # of a device or of the host, with advice
        print(f"aigc: {error}", file=sys.stderr)
        sys.exit(errno.ENOMEM)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(130)
    except Exception as error:
        from aigc.lab.explain import explain

        if (line := explain(error, words)) is None:
            raise
        fail(line)


def fail(line: str) -> None:
    """Say what is wrong and leave with code 2."""
    print(f"aigc: {' '.join(line.split())}", file=sys.stderr)
    sys.exit(2)


def hydra_task(name: str) -> Callable[[list[str]], None]:
    """A task whose arguments are overrides of `conf/<name>.yaml`."""

    def start(words: list[str]) -> None:
        from aigc.lab.choices import conf_dir, own
        from aigc.lab.conf import usage, with_run

        if {"-h", "--help"} & set(words):
            print(usage(name))
            return
        if name == "evaluate" and (runs := _study(words)):
            return judge_all(runs, [w for w in words if not w.startswith("run=")])
        if name != "train":
            words = with_run(words)

        import hydra

        from aigc.lab.schema import register

        register()
        os.environ["HYDRA_FULL_ERROR"] = "1"  # errors come to `main`, which shortens them
        _check_words(words)
        overrides = [word for word in words if re.match(r"[~+]|[^-].*=", word)]
        flags = [word for word in words if word not in overrides]  # Hydra wants them apart
        flags += [word for folder in own for word in ("--config-dir", str(folder))]
        argv, sys.argv = sys.argv, [sys.argv[0], *flags, *overrides]

        @hydra.main(version_base="1.3", config_path=str(conf_dir()), config_name=name)
        def job(config) -> None:
            sys.argv = argv  # Lightning starts the other ranks with this command
            if sweeping() and config.get("strategy", {}).get("devices", 1) != 1:
                # ... and with `-m` in it each rank would run a sweep of its own.
                fail("hydra/launcher=basic trains in this process: use hydra/launcher=process")
            try:
                run_task(name, config)
            except (BadInput, NotARun) as error:
                if sweeping():
                    raise  # Hydra goes on with the other cells and reports at the end
                fail(str(error))

        job()

    return start


def _check_words(words: list[str]) -> None:
    """What Hydra would answer less clearly."""
    from aigc.lab.choices import choices

    known = choices()
    sweep = {"-m", "--multirun"} & set(words)
    for word in words:
        name, _, value = word.partition("=")
        needed = name in known and name not in ("experiment", "logger")
        if needed and "=" in word and value in ("", "null"):
            raise BadInput(f"{name}= needs a choice: {', '.join(known[name])}")
        if re.match(r"\w[\w./]*=[\w.-]+(,[\w.-]+)+$", word) and not sweep:
            raise BadInput(f"{word}: several values are a sweep, which needs -m")


def run_task(name: str, config) -> None:
    """Run a task on a composed configuration and print the path it gives."""
    from aigc.lab.conf import resolved

    plain = resolved(config)

    from aigc.lab import tasks
    from aigc.lab.training import main_process

    path = getattr(tasks, name)(plain)
    if main_process():
        print(path, flush=True)


def sweeping() -> bool:
    """Whether this job is one cell of `-m`."""
    from hydra.core.hydra_config import HydraConfig
    from hydra.types import RunMode

    return HydraConfig.get().mode == RunMode.MULTIRUN


def judge_all(runs: list, words: list[str]) -> None:
    """`aigc evaluate run=STUDY`: every finished run; judged ones only if `words` ask for more."""
    if flags := [word for word in words if word.startswith("-")]:
        raise BadInput(f"{flags[0]}: a study takes settings only; judge its runs one by one")
    from aigc.lab.api import evaluate, load
    from aigc.lab.evaluation import judged

    named = [
        name for w in words if w.startswith("plugins=") for name in re.findall(r"[\w.]+", w)[1:]
    ]
    for i, run in enumerate(runs, 1):
        if words or not judged(run):
            print(f"{i}/{len(runs)}  {run}", file=sys.stderr, flush=True)
            evaluate(load(run.path, plugins=named), *words)
        print(run, flush=True)


def _study(words: list[str]) -> list:
    """The finished runs below `run=DIR` where DIR is not a run but holds some."""
    from aigc.runs import RunDir

    given = [word.removeprefix("run=").strip("'\"") for word in words if word.startswith("run=")]
    if not given or (RunDir(given[0]) / "config.yaml").is_file():
        return []
    return [run for run in RunDir.below(given[0]) if run.is_done]


def compare(words: list[str]) -> None:
    """`aigc compare`."""
    from aigc.analysis.report import main as report

    report(words)


def export(words: list[str]) -> None:
    """`aigc export`."""
    if {"-h", "--help"} & set(words):
        print(HELP, end="")
        return
    if len(words) != 2:
        raise BadInput("export takes two words: a run's folder and the folder to write")
    from aigc.lab.run import load

    print(load(words[0]).export(words[1]))


def passed_on(name: str, module: str) -> Callable[[list[str]], None]:
    """A task whose words go to `main` of a module."""

    def start(words: list[str]) -> None:
        from aigc.lab.conf import USAGE, usage

        if {"-h", "--help"} & set(words):
            print(usage(name) + "\n" if name in USAGE else HELP, end="")
            return
        import_module(module).main(words)

    return start


TASKS: dict[str, Callable[[list[str]], None]] = {
    "train": hydra_task("train"),
    "sample": hydra_task("sample"),
    "evaluate": hydra_task("evaluate"),
    "compare": compare,
    "export": export,
    "inspect": passed_on("inspect", "aigc.lab.inspection.task"),
    "robustness": passed_on("robustness", "aigc.lab.robustness"),
    "figure": passed_on("figure", "aigc.lab.studies"),
    "demo": passed_on("demo", "aigc.lab.demo"),
    "list": passed_on("list", "aigc.lab.listing"),
    "plan": passed_on("plan", "aigc.lab.plan"),
    "sweep": passed_on("sweep", "aigc.lab.sweeps.table"),
    "runs": passed_on("runs", "aigc.lab.keeping"),
    "verify": passed_on("verify", "aigc.lab.verify"),
    "doctor": passed_on("doctor", "aigc.lab.doctor"),
    "bench": passed_on("bench", "aigc.lab.bench"),
}

if __name__ == "__main__":
    main()
