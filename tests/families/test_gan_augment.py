"""What the critic sees data through: differentiable, random by example, the same for real and
generated data; ADA's probability moves the right way."""

import pytest
import torch

from aigc.core.errors import BadInput
from aigc.families.gan.augment import ADA, TRANSFORMS, DiffAugment, cutout, translation

SHAPES = {0: (6,), 1: (2, 40), 2: (3, 8, 12), 3: (1, 4, 6, 6)}


@pytest.mark.parametrize(("rank", "shape"), SHAPES.items())
def test_gradients_pass_and_rows_differ(rank: int, shape: tuple[int, ...]):
    torch.manual_seed(0)
    x = torch.randn(16, *shape, requires_grad=True)
    out = DiffAugment()(x)
    assert out.shape == x.shape
    out.square().sum().backward()
    assert (x.grad.flatten(1).abs().sum(1) > 0).all()
    same = torch.ones(16, *shape)
    rows = DiffAugment()(same).flatten(1)
    assert len(rows.unique(dim=0)) > 8  # numbers of its own for each example
    for transform in TRANSFORMS[rank].values():
        assert not torch.equal(transform(x), x)


@pytest.mark.parametrize("shape", SHAPES.values())
def test_probability_zero_is_the_identity_and_a_half_leaves_half(shape: tuple[int, ...]):
    x = torch.randn(400, *shape)
    assert torch.equal(ADA()(x), x)
    half = DiffAugment(p=0.5)(x)
    kept = (half == x).flatten(1).all(1).float().mean()
    transforms = len(DiffAugment().transforms(len(shape) - 1))
    assert kept == pytest.approx(0.5**transforms, abs=0.08)


@pytest.mark.parametrize("shape", SHAPES.values())
def test_real_and_generated_data_are_treated_alike(shape: tuple[int, ...]):
    """Two draws of equal data have one law: their means agree within their errors."""
    torch.manual_seed(0)
    x = torch.randn(1, *shape).expand(3000, *shape)
    augment = DiffAugment()
    real, fake = augment(x).flatten(1), augment(x).flatten(1)
    error = ((real.var(0) + fake.var(0)) / 3000).sqrt() + 1e-6
    assert ((real.mean(0) - fake.mean(0)) / error).abs().max() < 5
    assert real.std(0).mean() > 0.1


def test_translation_moves_and_fills_with_zero():
    torch.manual_seed(0)
    x = torch.rand(50, 1, 16, 16) + 1
    for before, after in zip(x, translation(x)):
        moves = [
            (i, j)
            for i in range(-2, 3)
            for j in range(-2, 3)
            if torch.equal(moved(before[0], i, j), after[0])
        ]
        assert len(moves) == 1
    assert not torch.equal(translation(x)[0], translation(x)[0])


def moved(x: torch.Tensor, i: int, j: int) -> torch.Tensor:
    padded = torch.nn.functional.pad(x, (2, 2, 2, 2))
    return padded[2 - i : 18 - i, 2 - j : 18 - j]


def test_cutout_leaves_a_box_out():
    x = torch.ones(200, 2, 8, 8)
    out = cutout(x)
    holes = 1 - out
    assert torch.equal(holes[:, 0], holes[:, 1])
    sizes = holes[:, 0].flatten(1).sum(1)
    assert sizes.max() == 16  # half of each side
    assert sizes.min() > 0
    rows, columns = holes[:, 0].amax(2).sum(1), holes[:, 0].amax(1).sum(1)
    assert torch.equal(rows * columns, sizes)


def test_the_adaptive_probability_follows_the_critic():
    ada = ADA(examples=100, target=0.6)
    sure, lost = torch.ones(10, 1), torch.cat([torch.ones(7, 1), -torch.ones(3, 1)])
    ada.update(sure)
    assert ada.p.item() == pytest.approx(0.1)  # 1 > 0.6
    ada.update(lost)
    assert ada.p.item() == pytest.approx(0.0)  # 0.4 < 0.6
    ada.update(lost)
    assert ada.p.item() == 0.0
    for _ in range(20):
        ada.update(sure)
    assert ada.p.item() == 1.0
    assert "p" in ada.state_dict()  # it goes on where a run goes on


def test_wrong_names_are_one_line():
    with pytest.raises(BadInput, match="did you mean 'colour'"):
        DiffAugment(["color"])
    with pytest.raises(BadInput, match="choose from colour, cutout, translation"):
        DiffAugment(["gain"])(torch.zeros(2, 1, 4, 4))
    with pytest.raises(BadInput, match="p=2"):
        DiffAugment(p=2)


def test_a_run_shows_its_probability(smoke):
    folder = smoke(
        "model=gan", "modality=tabular", "net/encoder=ctgan", "net/decoder=ctgan",
        "model/augment=ada", "model.straight_through=true", "trainer.preview=4",
    )  # fmt: skip
    log = (folder / "log.csv").read_text()
    assert "train/augment" in log
