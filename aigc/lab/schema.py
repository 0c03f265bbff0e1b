"""Types of the configuration, so that `seed=abc` is refused where it is written."""

from dataclasses import dataclass, field
from typing import Any

from hydra.core.config_store import ConfigStore
from omegaconf import MISSING


@dataclass
class Budget:
    """What one is ready to pay: examples seen, size of the networks, examples judged."""

    name: str = MISSING
    by: str = "examples"  # or seconds, flops, params: what the cells of a comparison share
    amount: float | None = None  # seconds, training FLOPs or parameters, where by says so
    examples: int = MISSING
    batch_size: int = MISSING  # global, split over devices
    channels: int = MISSING  # width of convolutional networks
    width: int = MISSING  # width of transformers
    hidden: int = MISSING  # width of MLPs
    depth: int = MISSING
    samples: int = MISSING


@dataclass
class Trainer:
    """How a run is trained; see conf/trainer/default.yaml."""

    accelerator: str = "auto"
    precision: str = "32-true"
    compile: bool = False
    channels_last: bool = False
    warmup: float = 0.05
    decay: str = "cosine"
    validations: int = 20
    keep: str = "best"
    patience: int | None = None
    where: str = "auto"
    workers: int = 2
    log_points: int = 200
    preview: int = 64
    save_every: Any = "5m"
    requeue: str | None = "usr1"
    oom: str | None = None
    parts: int | None = None


@dataclass
class Strategy:
    """How a run is spread over devices."""

    name: str = "auto"
    devices: Any = 1
    nodes: int = 1


@dataclass
class Split:
    """How validation and test are carved where a data set does not bring them; see
    aigc.data.store."""

    validation: float = 0.2
    test: float = 0.2
    seed: int = 0
    block: int = 1


@dataclass
class Train:
    """`aigc train`."""

    model: dict[str, Any] = MISSING
    modality: dict[str, Any] = MISSING
    dataset: dict[str, Any] = MISSING
    net: dict[str, Any] = MISSING
    sampler: dict[str, Any] = MISSING
    optimizer: dict[str, Any] = MISSING
    logger: dict[str, Any] = field(default_factory=dict)
    budget: Budget = field(default_factory=Budget)
    trainer: Trainer = field(default_factory=Trainer)
    strategy: Strategy = field(default_factory=Strategy)
    split: Split = field(default_factory=Split)
    seed: int = 0
    study: str = "default"
    view: str = MISSING
    labels: bool | None = None
    run: str | None = None
    augment: dict[str, Any] | None = None
    adversary: dict[str, Any] | None = None
    balance: str | None = None
    probe: list[str] | None = None
    init: str | None = None
    init_freeze: list[str] | None = None
    resume: str = "auto"
    plugins: list[str] = field(default_factory=list)


@dataclass
class Sample:
    """`aigc sample`."""

    run: str = MISSING
    n: int = 16
    seed: int = 0
    y: Any = None
    batch_size: int = 256
    devices: int = 1
    prompt: str | None = None
    stream: bool = False
    out: str | None = None
    edit: dict[str, Any] | None = None
    sampler: dict[str, Any] = MISSING
    model: dict[str, Any] = MISSING
    plugins: list[str] = field(default_factory=list)


@dataclass
class Evaluate:
    """`aigc evaluate`."""

    run: str = MISSING
    n: Any = None
    seed: int = 0
    batch_size: int = 256
    devices: int = 1
    extractors: list[str] = field(default_factory=lambda: ["randconv", "pca"])
    metrics: Any = None
    judge: str | None = None
    by_class: bool = False
    sampler: dict[str, Any] = MISSING
    model: dict[str, Any] = MISSING
    plugins: list[str] = field(default_factory=list)


@dataclass
class Inspect:
    """`aigc inspect`."""

    run: str = MISSING
    what: list[str] | None = None
    n: int = 2000
    seed: int = 0
    plugins: list[str] = field(default_factory=list)


@dataclass
class Robustness:
    """`aigc robustness`."""

    run: Any = MISSING
    n: int = 256
    seed: int = 0
    eps: list[float] = field(default_factory=lambda: [0.0, 0.02, 0.05, 0.1, 0.2])
    steps: int = 5
    strengths: list[float] = field(default_factory=lambda: [0.0, 0.1, 0.2, 0.4, 0.8])
    batch_size: int = 64
    out: str | None = None
    plugins: list[str] = field(default_factory=list)


def register() -> None:
    """Make the schemas known to Hydra."""
    store = ConfigStore.instance()
    for schema in (Train, Sample, Evaluate, Inspect, Robustness):
        store.store(group="schema", name=schema.__name__.lower(), node=schema, package="_global_")
