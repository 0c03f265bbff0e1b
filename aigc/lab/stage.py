"""Two-stage runs: the finished run that a learned view stands on, checked and kept."""

import shutil
from pathlib import Path

from aigc.core.errors import BadInput
from aigc.core.learned import LEARNED
from aigc.data.store import Store
from aigc.lab.build import Config
from aigc.lab.run import Run, load
from aigc.runs import RunDir

# What of a first stage its second stage needs, a first stage's own view included.
PARTS = ("config.yaml", "status.json", "codec", "checkpoints/model.safetensors", "view")
GIVES = {"latent": ("latents", "vae"), "vq": ("codes", "vqvae")}


def first_stage(config: Config, store: Store) -> Run | None:
    """The run that `config.run` names, None where the view is not learned.

    Raises BadInput where it is not one for this view and these data.
    """
    if config["view"] not in LEARNED:
        return None
    run = load(config["run"], device="cpu")
    what, family = GIVES[config["view"]]
    if what not in run.model.provides:
        raise BadInput(
            f"run={run.dir}: a {run.config['model']['name']} has no {what}: "
            f"view={config['view']} needs a trained model={family}"
        )
    theirs, ours = run.dir.status["data"], store.meta
    same_codec = run.config["modality"]["codec"] == config["modality"]["codec"]
    if theirs["hash"] != ours["hash"] or not same_codec:
        raise BadInput(
            f"run={run.dir} was trained on other data ({theirs['name']}): "
            f"{ours['name']} with the same dataset, modality.codec and split settings is needed"
        )
    spec, nets = run.model.view.spec, [run.model.encoder, run.model.decoder]
    labelled = spec.classes or spec.caption
    if what == "latents" and labelled and any(getattr(net, "labels", True) for net in nets):
        raise BadInput(
            f"run={run.dir}: its networks read labels, and a view has none: "
            "train it with labels=false, or with net/encoder=map net/decoder=map"
        )
    return run


def keep(stage: RunDir, folder: Path) -> None:
    """Copy what is needed of a first stage to `folder`, so that the second can do without it."""
    for name in PARTS:
        source, target = stage / name, folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target)
        elif source.exists():
            shutil.copyfile(source, target)
