"""Imported by the process that cells are forked from: what training would import later by itself.

Nothing here starts a thread or touches a device: a fork has neither.
"""

import hydra.core.plugins
import lightning.pytorch.strategies
import rich.progress  # noqa: F401

import aigc.lab.training  # noqa: F401
