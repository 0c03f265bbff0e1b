"""Small models of the latents of a trained VAE, fitted on the CPU from a fixed seed."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from aigc.families.vae.flows import Couplings
from aigc.families.vae.objective import kl_to_prior, log_normal, reparameterize, split_posterior

BATCH = 256


class Fitted(nn.Module):
    """Latents `z (N, L)`, made of mean 0 and spread 1, and labels `y (N,)` as one-hot context."""

    def __init__(self, z: Tensor, y: Tensor):
        super().__init__()
        self.classes = int(y.max()) + 1
        self.register_buffer("mean", z.mean(0))
        self.register_buffer("sd", z.std(0) + 1e-4)

    def context(self, y: Tensor) -> Tensor:
        """One-hot labels `(B, classes)`; a class that the fit has not seen counts as the last."""
        return F.one_hot(y.clamp(max=self.classes - 1), self.classes).float()

    def fit(self, z: Tensor, y: Tensor, steps: int, cost: Callable[..., Tensor], lr: float) -> None:
        """`steps` steps of Adam on `cost(z, context)`; global generators are left as they were."""
        z = (z - self.mean) / self.sd
        optimizer = torch.optim.Adam(self.parameters(), lr)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
        for _ in range(steps):
            rows = torch.randint(len(z), (BATCH,))
            optimizer.zero_grad()
            cost(z[rows], self.context(y[rows])).backward()
            optimizer.step()
            schedule.step()


class Transport(Fitted):
    """A flow by maximum likelihood."""

    def __init__(self, z: Tensor, y: Tensor, steps: int, lr: float = 2e-3):
        super().__init__(z, y)
        with torch.random.fork_rng(devices=[]), torch.enable_grad():
            torch.manual_seed(0)
            self.flow = Couplings(z.shape[1], self.classes)
            self.fit(z, y, steps, self.nats, lr)

    def nats(self, z: Tensor, h: Tensor) -> Tensor:
        """Mean `-log p(z | h)` of standardised latents."""
        eps, log_det = self.flow(z, h)
        return -(log_normal(eps, 0.0, 0.0) + log_det).mean()

    @torch.no_grad()
    def forward(self, eps: Tensor, y: Tensor) -> Tensor:
        """Normal noise `(B, L)` to latents."""
        self.to(eps.device)
        return self.mean + self.sd * self.flow.inverse(eps, self.context(y))


class Second(Fitted):
    """A VAE of latents (Dai & Wipf 2019, section 4); the decoder's spread `gamma` is at every step
    the one that fits best, so that it can vanish where latents lie on a surface."""

    def __init__(self, z: Tensor, y: Tensor, steps: int, width: int = 256, lr: float = 2e-3):
        super().__init__(z, y)
        size = z.shape[1]
        self.register_buffer("gamma", torch.ones(()))
        with torch.random.fork_rng(devices=[]), torch.enable_grad():
            torch.manual_seed(0)
            self.encoder = _mlp(size + self.classes, width, 2 * size)
            self.decoder = _mlp(size + self.classes, width, size)
            self.fit(z, y, steps, self.nats, lr)

    def nats(self, z: Tensor, h: Tensor) -> Tensor:
        """The mean bound on `-log p(z | h)`, up to a constant."""
        mean, log_var = split_posterior(self.encoder(torch.cat([z, h], 1)))
        u = reparameterize(mean, log_var, torch.randn_like(mean))
        error = (z - self.decoder(torch.cat([u, h], 1))).square().mean()
        self.gamma.lerp_(error.detach().sqrt(), 0.05)
        return kl_to_prior(mean, log_var).mean() + 0.5 * z.shape[1] * (error + 1e-8).log()

    @torch.no_grad()
    def forward(self, u: Tensor, eps: Tensor, y: Tensor) -> Tensor:
        """Normal noise of both stages, `(B, L)` each, to latents."""
        self.to(u.device)
        z = self.decoder(torch.cat([u, self.context(y)], 1))
        return self.mean + self.sd * (z + self.gamma * eps)


def _mlp(inp: int, width: int, out: int) -> nn.Sequential:
    layers = nn.Linear(inp, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU()
    return nn.Sequential(*layers, nn.Linear(width, out))
