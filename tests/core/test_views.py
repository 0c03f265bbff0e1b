"""Views are bijections on ids, and their inverses map any float to a valid id."""

import pytest
import torch

from aigc.core.errors import BadInput
from aigc.core.spec import Space
from aigc.core.views import VIEWS, Bits, Grid, Table, Tokens

SPACES = {
    "pixels": Space((1, 8, 8), 17, classes=10),
    "colour": Space((3, 4, 5), 256),
    "sound": Space((1, 50), 256),
    "text": Space((12,), 100, ordered=False),
    "row": Space((4,), (2, 7, 1, 33), ordered=(True, False, False, True)),
}
PAIRS = [
    ("tokens", "pixels"), ("tokens", "colour"), ("tokens", "text"), ("tokens", "row"),
    ("grid", "pixels"), ("grid", "colour"), ("grid", "sound"),
    ("bits", "text"), ("bits", "pixels"), ("bits", "colour"),
    ("table", "row"),
]  # fmt: skip


def random_ids(space: Space, n: int = 64) -> torch.Tensor:
    levels = torch.tensor(space.levels).expand(space.shape)
    u = torch.rand(n, *space.shape, generator=torch.manual_seed(0))
    return (u * levels).long()


@pytest.mark.parametrize(("name", "space"), PAIRS)
def test_round_trip(name: str, space: str):
    view = VIEWS[name](SPACES[space])
    ids = random_ids(SPACES[space])
    x = view.encode(ids)
    assert x.shape == (64, *view.spec.shape)
    assert view.spec.classes == SPACES[space].classes
    assert torch.equal(view.decode(x), ids)


@pytest.mark.parametrize(("name", "space"), [p for p in PAIRS if p[0] != "tokens"])
def test_any_float_decodes_to_a_valid_id(name: str, space: str):
    view = VIEWS[name](SPACES[space])
    ids = view.decode(3 * torch.randn(256, *view.spec.shape, generator=torch.manual_seed(0)))
    assert (ids >= 0).all()
    assert (ids < torch.tensor(SPACES[space].levels).expand(SPACES[space].shape)).all()


def test_small_noise_does_not_change_an_id():
    view = Grid(SPACES["pixels"])
    ids = random_ids(SPACES["pixels"])
    noise = 0.49 * view.spec.quantum * (2 * torch.rand(ids.shape) - 1)
    assert torch.equal(view.decode(view.encode(ids) + noise), ids)


def test_colours_of_a_pixel_are_neighbours_in_tokens():
    ids = torch.arange(3 * 4 * 5).view(1, 3, 4, 5)
    assert Tokens(Space((3, 4, 5), 60)).encode(ids)[0, :3].tolist() == [0, 20, 40]


def test_tokens_know_which_levels_a_column_has():
    allowed = Tokens(SPACES["row"]).allowed
    assert allowed.sum(1).tolist() == [2, 7, 1, 33]
    assert Tokens(SPACES["pixels"]).allowed is None


def test_a_table_gives_one_feature_to_an_ordered_column_and_bits_to_a_category():
    view = Table(SPACES["row"])
    assert view.widths == [1, 3, 0, 1]
    assert view.spec.quantum == pytest.approx((2.0, 2.0, 2.0, 2.0, 2 / 32))


def test_impossible_views_say_so():
    for view in (Grid, Bits):
        with pytest.raises(BadInput, match="use 'table'"):
            view(SPACES["row"])
    with pytest.raises(BadInput, match="constant"):
        Table(Space((2,), (1, 1), ordered=(True, False)))
