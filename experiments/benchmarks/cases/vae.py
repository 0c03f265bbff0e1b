"""An MLP VAE on 28 x 28 binary pictures: 512 hidden units, 16 latents, batch 64."""

import logging
import tempfile
from functools import partial

from benchlib.framework import bare, whole

from aigc.lab.bench import case

STEPS, BATCH = 100, 64
WORDS = ["model=vae", "modality=image", "net/encoder=plain", "net/decoder=plain"]
WORDS += ["budget.hidden=512", "budget.depth=1", "model.latent=16", "modality.codec.levels=2"]
WORDS += [f"budget.batch_size={BATCH}"]


def pythae(bar: bool):
    """Its default networks, of the same sizes, and a pass of its own trainer."""
    import numpy as np
    import torch
    from pythae.data.datasets import BaseDataset
    from pythae.models import VAE, VAEConfig
    from pythae.trainers import BaseTrainer, BaseTrainerConfig

    logging.disable(logging.WARNING)
    sizes = {"input_dim": (1, 28, 28), "latent_dim": 16, "reconstruction_loss": "bce"}
    raw = np.random.default_rng(0).integers(0, 2, (STEPS * BATCH, 1, 28, 28)).astype("float32")
    how = {"per_device_train_batch_size": BATCH, "learning_rate": 1e-3, "num_epochs": 1}
    config = BaseTrainerConfig(output_dir=tempfile.mkdtemp(), **how)
    data = BaseDataset(torch.from_numpy(raw), torch.zeros(len(raw)))
    trainer = BaseTrainer(VAE(VAEConfig(**sizes)), data, training_config=config)
    trainer.prepare_training()
    if not bar:
        trainer.callback_handler.callbacks = []

    def step() -> None:
        trainer.train_step(1)

    return step


@case("vae_train", unit="images/s", count=STEPS * BATCH, seconds=0)
def vae_train():
    """Training of an MLP VAE; ours is a whole run, pythae its own trainer."""
    noise = {"size": 28, "channels": 1}
    ours = {"aigc": whole(WORDS, STEPS, **noise), "aigc bare": bare(WORDS, STEPS, **noise)}
    return ours | {"pythae": partial(pythae, True), "pythae, no bar": partial(pythae, False)}
