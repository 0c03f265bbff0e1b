"""An optimizer that is fused takes the steps of one that is not, and choices are left alone."""

import pytest
import torch

from aigc.families.base import fused


@pytest.mark.parametrize("kind", [torch.optim.AdamW, torch.optim.Adam, torch.optim.SGD])
def test_the_same_steps(kind):
    found = []
    for ready in (lambda o: o, fused):
        torch.manual_seed(0)
        net = torch.nn.Sequential(torch.nn.Linear(7, 9), torch.nn.Linear(9, 3))
        optimizer = ready(kind(net.parameters(), lr=0.01, weight_decay=0.1))
        for _ in range(5):
            optimizer.zero_grad()
            net(torch.randn(4, 7)).square().sum().backward()
            optimizer.step()
        found.append(list(net.parameters()))
    for a, b in zip(*found):
        torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-7)


def test_what_was_chosen_stays():
    p = [torch.nn.Parameter(torch.ones(3))]
    kinds = (torch.optim.AdamW(p, foreach=True), torch.optim.AdamW(p, fused=False),
             torch.optim.RMSprop(p), torch.optim.AdamW(p))  # fmt: skip
    found = [fused(optimizer).param_groups[0].get("fused") for optimizer in kinds]
    assert found == [None, False, None, True]
