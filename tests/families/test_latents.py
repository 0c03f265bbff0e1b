"""Walks through a latent space end and pass where they should."""

import pytest
import torch

from aigc.core.errors import BadInput
from aigc.core.rng import Rng
from aigc.families.latents import Interpolate, Traverse, linear, slerp


def test_paths_between_two_points():
    a, b = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 2.0]])
    half = torch.tensor([0.5])
    assert torch.allclose(slerp(a, b, half), (a + b) / 2**0.5, atol=1e-6)
    assert torch.equal(linear(a, b, half), (a + b) / 2)
    assert torch.allclose(slerp(a, a, half), a)


def test_a_great_circle_keeps_the_length_of_gaussian_latents():
    z = Rng(0, torch.arange(2)).normal(4000)
    for part in (0.25, 0.5):
        middle = slerp(z[:1], z[1:], torch.tensor([part]))
        assert middle.norm() == pytest.approx(4000**0.5, rel=0.03)
        chord = linear(z[:1], z[1:], torch.tensor([part])).norm()
        assert chord == pytest.approx((4000 * (part**2 + (1 - part) ** 2)) ** 0.5, rel=0.03)


@pytest.mark.parametrize("path", ["slerp", "linear"])
def test_rows_go_from_one_known_latent_to_the_next(path: str):
    known = torch.randn(3, 5)
    walk = Interpolate(known, count=4, path=path)
    z = walk.z("whatever a family gives", Rng(0, torch.arange(12)))
    assert torch.allclose(z[[0, 3, 4, 7, 8, 11]], known[[0, 1, 1, 2, 2, 0]], atol=1e-5)
    assert torch.equal(walk.at(torch.tensor([5])), z[5:6])


def test_a_traversal_moves_one_direction_alone():
    known, axes = torch.tensor([[0.5, -1.0, 2.0]]), torch.eye(3)[[2, 0]]
    z = Traverse(known, axes, count=5, span=3.0).at(torch.arange(10))
    assert z[:5, 2].tolist() == [-3, -1.5, 0, 1.5, 3]
    assert (z[:5, :2] == known[:, :2]).all() and (z[5:, 1:] == known[:, 1:]).all()
    slanted = torch.tensor([[0.6, 0.8, 0.0]])
    moved = Traverse(known, slanted, count=3, span=1.0, reset=False).at(torch.arange(3))
    assert torch.allclose(moved - known, torch.tensor([[-1.0], [0.0], [1.0]]) * slanted)


def test_walks_that_cannot_be_are_refused():
    for make, line in (
        (lambda: Interpolate(torch.zeros(1, 2)), "examples=1: at least 2"),
        (lambda: Interpolate(torch.zeros(2, 2), count=1), "count=1"),
        (lambda: Interpolate(torch.zeros(2, 2), path="slrp"), "did you mean 'slerp'"),
        (lambda: Traverse(torch.zeros(1, 2), torch.eye(2), count=1), "edit.count=1"),
    ):
        with pytest.raises(BadInput, match=line):
            make()
