"""The Dirac-GAN (Mescheder et al. 2018), whose trajectories are known, by our objectives and
penalties.

The paper's critic is high for generated data: its `psi` is ours negated, and its (1, 1) our
(1, -1).
"""

import runpy
from math import sqrt
from pathlib import Path

import pytest
import torch

from aigc.families.gan.objective import Minimax, NonSaturating, Relativistic, Wasserstein

DIRAC = Path(__file__).parents[2] / "experiments" / "dirac_gan" / "dirac.py"
trajectory = runpy.run_path(str(DIRAC))["trajectory"]
H, STEPS = 0.1, 500


def radius(*args, **kwargs) -> torch.Tensor:
    return trajectory(*args, steps=kwargs.pop("steps", STEPS), h=H, **kwargs).norm(dim=1)


def test_simultaneous_descent_moves_away_and_r1_comes_back():
    plain, held = radius(Minimax()), radius(Minimax(), r1=0.1)
    assert plain[0] == pytest.approx(1.414, abs=1e-3)
    assert plain[-1] == pytest.approx(2.254, abs=1e-3)
    assert (plain.diff() > 0).all()  # lemma 2.3: unstable at every rate
    assert held[-1] == pytest.approx(0.194, abs=1e-3)


def test_near_the_equilibrium_the_rate_is_that_of_the_eigenvalues():
    """Of `[[-gamma, -1/2], [1/2, 0]]`: `|1 + h lambda|` a step (eq. 11 and lemma 3.2)."""
    for gamma in (0.0, 0.1):
        found = radius(Minimax(), steps=315, start=(1e-4, 0.0), r1=gamma)
        jacobian = torch.tensor([[0, 0.5], [-0.5, -gamma]], dtype=torch.float64)
        rate = torch.linalg.eigvals(torch.eye(2) + H * jacobian).abs().max()
        turn = (found[315] / found[0]) ** (1 / 315)  # after five half turns
        assert turn == pytest.approx(rate.item(), abs=2e-4)
        assert (rate < 1) == (gamma > 0)


def test_alternating_descent_neither_comes_nor_goes():
    """Lemma 2.4: eigenvalues on the unit circle."""
    found = radius(Minimax(), alternate=True)
    assert found.min() > 1.35 and found.max() < 1.5


def test_wasserstein_turns_at_a_known_distance():
    """Bilinear: both at once the radius grows by `sqrt(1 + h**2)` a step; in turns, with the critic
    first, `theta**2 + psi**2 - h theta psi` stays."""
    found = radius(Wasserstein())
    wanted = sqrt(2) * (1 + H**2) ** (torch.arange(STEPS + 1).double() / 2)
    assert torch.allclose(found, wanted, rtol=1e-9)
    theta, psi = trajectory(Wasserstein(), STEPS, H, alternate=True).T
    kept = theta**2 + psi**2 - H * theta * psi
    assert torch.allclose(kept, kept[:1].expand_as(kept), rtol=1e-9)


@pytest.mark.parametrize("held", [{"weight_clip": 1.0}, {"gp": 1.0}])
@pytest.mark.parametrize("alternate", [False, True])
def test_a_wasserstein_critic_that_is_held_goes_round_for_ever(held: dict, alternate: bool):
    """Clipped weights and the one-centred penalty do not converge (section 3)."""
    found = radius(Wasserstein(), steps=600, alternate=alternate, **held)
    assert found[-200:].min() > 0.9 and found.max() < 3


def test_the_non_saturating_game_comes_closer_ever_more_slowly():
    """Its eigenvalues are those of the plain game; averaged over a turn, `d r**2 / dt = -r**4 / 8`:
    `1 / r**2` grows by `h / 8` a step."""
    found = radius(NonSaturating(), steps=1500, alternate=True)
    grown = found[1500] ** -2 - found[500] ** -2
    assert grown == pytest.approx(1000 * H / 8, rel=0.03)


def test_of_one_point_the_relativistic_game_is_the_non_saturating_one():
    """The real score is 0, and `softplus(D(G(z)) - 0)` the same; R1 and R2 add up."""
    a, b = (trajectory(game, 100, H) for game in (Relativistic(), NonSaturating()))
    assert torch.allclose(a, b)
    a = trajectory(Relativistic(), 100, H, r1=0.1, r2=0.1)
    b = trajectory(NonSaturating(), 100, H, r1=0.2)
    assert torch.allclose(a, b)
