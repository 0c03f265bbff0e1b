"""aigc: train, sample and judge four families of generative models by one protocol.

>>> import aigc
>>> run = aigc.load("runs/default/diffusion-digits-s0-3f2a91c0")   # doctest: +SKIP
>>> run.sample(16, seed=0).save("out")                            # doctest: +SKIP
"""

__version__ = "0.1.0"
__all__ = ["load"]


def __getattr__(name: str):
    """Import on first use, so that `import aigc` and the command line stay instant."""
    if name == "load":
        from aigc.lab.run import load

        return load
    raise AttributeError(f"module 'aigc' has no attribute {name!r}")
