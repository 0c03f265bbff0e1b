"""What a run costs beside the same steps in a bare torch loop."""

from benchlib.framework import bare, whole

from aigc.lab.bench import case

STEPS = 300
TABLE = ["model=diffusion", "modality=tabular", "budget.hidden=64", "budget.depth=1"]
GPT = ["model=autoregressive", "modality=text", "net.causal_lm.width=128"]
GPT += ["net.causal_lm.depth=4", "net.causal_lm.dropout=0", "budget.batch_size=12"]
GAN = ["model=gan", "modality=image", "net/encoder=lean", "net/decoder=lean"]


def both(words: list[str], steps: int, **noise: int):
    """Ours and bare."""
    return {"aigc": whole(words, steps, **noise), "bare loop": bare(words, steps, **noise)}


@case("overhead", unit="ms a step", count=STEPS, seconds=0)
def overhead():
    """A small step: diffusion on a table, MLP, batch 64."""
    return both([*TABLE, "budget.batch_size=64"], STEPS)


@case("overhead_gpt", unit="ms a step", count=20, seconds=0)
def overhead_gpt():
    """A middling step: transformer of tinyshakespeare_cpu on pydoc, batch 12."""
    return both(GPT, 20)


@case("gan_step", unit="ms a step", count=40, seconds=0)
def gan_step():
    """A GAN's step on 28 x 28 pictures, batch 64, with the run's penalty R1."""
    return both([*GAN, "budget.batch_size=64", "budget.channels=16"], 40, size=28, channels=1)
