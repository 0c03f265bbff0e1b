"""Faults of a set of samples: nothing at strength zero, what they say above, valid ids always."""

import pytest
import torch

from aigc.core.spec import Space
from aigc.data.faults import FAULTS, Pool, faulty


def pool_of(kind: str) -> Pool:
    generator = torch.manual_seed(0)
    spaces = {
        "image": Space((1, 4, 4), 17),
        "text": Space((12,), 256, ordered=False),
        "table": Space((3,), (9, 4, 2), ordered=(True, True, False)),
    }
    space, top = spaces[kind], torch.as_tensor(spaces[kind].levels)
    ids = (torch.rand(200, *space.shape, generator=generator) * top).long()
    seen = (torch.rand(90, *space.shape, generator=generator) * top).long()
    return Pool(ids, torch.arange(200) % 10, space, seen)


@pytest.mark.parametrize("kind", ["image", "text", "table"])
@pytest.mark.parametrize("fault", FAULTS)
def test_strength_zero_changes_nothing_and_more_changes_more(kind: str, fault: str):
    pool = pool_of(kind)
    plain, rows = faulty(pool, fault, 0.0, 80)
    assert torch.equal(plain, pool.ids[rows]) and len(rows.unique()) == 80
    changed, top = [], torch.as_tensor(pool.space.levels)
    for strength in (0.2, 0.7):
        ids, rows = faulty(pool, fault, strength, 80)
        assert ids.shape == plain.shape and ((ids >= 0) & (ids < top)).all() and len(rows) == 80
        changed.append(float((ids != plain).double().mean()))
    assert changed[0] > 0 and (changed[0] < changed[1] or fault == "dropped")


def test_what_each_one_does():
    pool = pool_of("image")
    _, rows = faulty(pool, "dropped", 0.3, 80)
    assert set(pool.modes[rows].tolist()) == set(range(7)) and len(rows.unique()) == 80
    ids, _ = faulty(pool, "duplicates", 0.75, 80)
    assert len(ids.unique(dim=0)) == 20
    ids, _ = faulty(pool, "copies", 0.5, 80)
    seen = (ids[:, None] == pool.seen).flatten(2).all(2).any(1)
    assert seen[:40].all() and not seen[40:].any()
    ids, _ = faulty(pool, "blur", 1.0, 80)
    assert (ids - pool.ids.double().mean(0)).abs().max() <= 0.5
    ids, _ = faulty(pool_of("text"), "blur", 1.0, 80)
    assert len(ids.unique()) == 1
