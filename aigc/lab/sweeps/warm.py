"""Imported by the process that cells are forked from: what training would import later by itself.

Nothing here starts a thread or touches a device: a fork has neither.
"""

from importlib import import_module
from pkgutil import walk_packages

import aigc.families
import aigc.modalities
import aigc.nets
from aigc.data.datasets import all_datasets

LATER = ["hydra.core.plugins", "lightning.pytorch.strategies", "rich.progress", "sklearn.mixture"]

for package in (aigc.families, aigc.modalities, aigc.nets):
    LATER += [found.name for found in walk_packages(package.__path__, f"{package.__name__}.")]
for name in ["aigc.lab.training", *LATER]:
    import_module(name)
all_datasets()
