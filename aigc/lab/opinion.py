"""What a language model of the user's says of texts: one of our runs, or one of `transformers`."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from aigc.core.errors import BadInput
from aigc.lab.run import Run, load
from aigc.metrics.encoders import content
from aigc.metrics.registry import Judged

BATCH = 32
ASK = "say which model judges: judge=RUN of a text model, or judge=DIR of transformers"


def opinion(name: str | None, texts: list[str]) -> dict[str, Any]:
    """`judged` of the evidence and who judged; or why it is missing."""
    if not name:
        return {"missing": {"judged": ASK}}
    folder = Path(name)
    if (folder / "checkpoints").is_dir():
        run = load(folder)
        judged, by = _of_run(run, texts), f"{folder.name}@{run.dir.status.get('weights', '')[:6]}"
    else:
        judged, by = _of_transformers(folder, texts), f"hf-{folder.name}@{content(folder)}"
    return {"judged": judged, "by": {"judged": by}}


@torch.no_grad()
def _of_run(run: Run, texts: list[str]) -> Judged:
    """By windows of the run's context over all texts; BadInput for a run without exact likelihood
    of text."""
    if run.config["modality"]["name"] != "text" or run.model.likelihood != "exact":
        raise BadInput(f"judge={run.dir}: no model of text with an exact likelihood")
    ids = run.codec.encode(texts)
    parts = [part.to(run.device) for part in ids.split(BATCH)]
    nats = torch.cat([run.model.nats(run.model.view.encode(part), None).cpu() for part in parts])
    tokens = torch.full((len(ids),), ids.shape[1])
    return Judged(nats.double(), tokens, torch.stack([entropy(row) for row in ids]), len(texts))


@torch.no_grad()
def _of_transformers(folder: Path, texts: list[str]) -> Judged:
    """Text by text, each cut at the length that the model knows."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    try:
        model = AutoModelForCausalLM.from_pretrained(folder, local_files_only=True).eval()
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError) as error:
        raise BadInput(f"judge={folder} holds no language model: {error}") from error
    most = getattr(model.config, "max_position_embeddings", 1024)
    rows = [tokenizer(text, return_tensors="pt").input_ids[0, :most] for text in texts]
    rows = [row for row in rows if len(row) > 1]
    if not rows:
        raise BadInput(f"judge={folder}: no text of two tokens to judge")
    nats = [
        torch.nn.functional.cross_entropy(model(row[None]).logits[0, :-1].double(), row[1:])
        * (len(row) - 1)
        for row in rows
    ]
    tokens = torch.tensor([len(row) - 1 for row in rows])
    bits = torch.stack([entropy(row) for row in rows])
    return Judged(torch.stack(nats), tokens, bits, len(texts))


def entropy(ids: Tensor) -> Tensor:
    """Entropy in bits of the frequencies of tokens in one text."""
    p = ids.unique(return_counts=True)[1].double() / len(ids)
    return -(p * p.log2()).sum()
