"""aigc: train, sample and judge four families of generative models by one protocol.

>>> import aigc                                                                # doctest: +SKIP
>>> run = aigc.train("model=diffusion", "modality=image", "budget=smoke")      # doctest: +SKIP
>>> aigc.evaluate(run)                                                         # doctest: +SKIP
>>> aigc.load(run.dir.path).sample(16, seed=0).save("out")                     # doctest: +SKIP
"""

__version__ = "0.1.0"
__all__ = [
    "compare", "evaluate", "inspect", "load", "records", "sheet", "studies", "tables", "train",
]  # fmt: skip


def __getattr__(name: str):
    """Import on first use, so that `import aigc` and the command line stay instant."""
    if name not in __all__:
        raise AttributeError(f"module 'aigc' has no attribute {name!r}")
    if name == "studies":  # which stand on the rest
        from aigc.lab import studies as home
    else:
        from aigc.lab import api as home

    return getattr(home, name)
