"""GAN losses, penalties, heads and packs against their formulas."""

from itertools import pairwise

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from aigc.core.errors import BadInput
from aigc.core.spec import Space, Spec
from aigc.core.views import Grid
from aigc.families.gan import objective as games
from aigc.families.gan.heads import Codes, Heads
from aigc.families.gan.module import GAN, packed
from aigc.families.gan.penalties import (
    LeCam,
    Penalties,
    consistency,
    dragan,
    gradient_penalty,
    normalised,
    r1,
)

REAL, FAKE = torch.tensor([[2.0], [0.5]]), torch.tensor([[-1.5], [0.7]])
P, Q = torch.sigmoid(REAL), torch.sigmoid(FAKE)
FORMULAS = {  # critic, generator
    "NonSaturating": (-(P.log() + (1 - Q).log()).mean(), -Q.log().mean()),
    "Minimax": (-(P.log() + (1 - Q).log()).mean(), (1 - Q).log().mean()),
    "Hinge": (torch.tensor((0.0 + 0.5) / 2 + (0.0 + 1.7) / 2), -FAKE.mean()),
    "Wasserstein": (FAKE.mean() - REAL.mean(), -FAKE.mean()),
    "LeastSquares": (
        (((REAL - 1) ** 2).mean() + (FAKE**2).mean()) / 2,
        ((FAKE - 1) ** 2).mean() / 2,
    ),
    "Relativistic": (
        -torch.sigmoid(REAL - FAKE).log().mean(),
        -torch.sigmoid(FAKE - REAL).log().mean(),
    ),
}


@pytest.mark.parametrize("name", FORMULAS)
def test_each_loss_is_its_formula_and_pulls_the_right_way(name: str):
    game = getattr(games, name)()
    real, fake = (x.clone().requires_grad_() for x in (REAL, FAKE))
    value = game.critic(real, fake)
    assert value.item() == pytest.approx(FORMULAS[name][0].item(), abs=1e-6)
    up, down = torch.autograd.grad(value, (real, fake))
    if name == "LeastSquares":  # scores have a target, which one real score is beyond
        assert torch.equal(up.sign(), (real - 1).sign()) and torch.equal(down.sign(), fake.sign())
    else:
        assert (up <= 0).all() and up.sum() < 0 and (down >= 0).all() and down.sum() > 0
    value = game.generator(*(fake, real)[: 1 + game.paired])
    assert value.item() == pytest.approx(FORMULAS[name][1].item(), abs=1e-6)
    assert (torch.autograd.grad(value, fake)[0] < 0).all()


def quadratic(a: torch.Tensor):
    """`D(x) = sum a x**2 / 2`, whose gradient is `a x`, and a head that has no say."""

    def critic(x, y):
        out = (a * x.square()).sum(1, keepdim=True) / 2
        return torch.cat([out, 7 * x[:, :1]], 1)

    return critic


def test_penalties_of_a_quadratic_critic():
    torch.manual_seed(0)
    a = torch.tensor([1.0, -2.0, 0.5], requires_grad=True)
    x, z, mix, noise = torch.randn(6, 3), torch.randn(6, 3), torch.rand(6), torch.randn(6, 3)
    critic = quadratic(a)

    def unit(x):
        return (((a * x).norm(dim=1) - 1) ** 2).mean()

    value, out = r1(critic, x, None)
    assert torch.allclose(value, ((a * x) ** 2).sum(1).mean() / 2)
    assert torch.allclose(out, critic(x, None))
    (slope,) = torch.autograd.grad(value, a)
    assert torch.allclose(slope, (a * x**2).mean(0), rtol=1e-5)
    between = mix[:, None] * x + (1 - mix[:, None]) * z
    assert torch.allclose(gradient_penalty(critic, x, z, None, mix), unit(between), rtol=1e-4)
    around = x + 0.5 * x.std() * noise
    assert torch.allclose(dragan(critic, x, None, noise), unit(around), rtol=1e-4)
    found = consistency(critic, critic(x, None)[:, :1], x, lambda x: 2 * x, None)
    assert torch.allclose(found, ((3 * (a * x**2).sum(1) / 2) ** 2).mean(), rtol=1e-5)
    *_, both = Penalties(r1=0.3, r2=0.2)(critic, x, z, None)
    wanted = 0.15 * ((a * x) ** 2).sum(1).mean() + 0.1 * ((a * z) ** 2).sum(1).mean()
    assert torch.allclose(both, wanted)


def test_lecam_pulls_scores_to_the_average_of_the_others():
    lecam = LeCam(decay=0.9)
    value = lecam(REAL, FAKE)
    a_real, a_fake = 0.1 * REAL.mean(), 0.1 * FAKE.mean()
    assert torch.allclose(value, ((REAL - a_fake) ** 2).mean() + ((FAKE - a_real) ** 2).mean())
    lecam(REAL, FAKE)
    assert torch.allclose(lecam.real, (1 - 0.9**2) * REAL.mean())


def test_a_spectrally_normalised_linear_critic_is_lipschitz():
    torch.manual_seed(0)
    layers = [nn.Linear(a, b) for a, b in pairwise([20, 30, 30, 1])]
    with torch.no_grad():
        layers[1].weight.mul_(9)
        layers[2].weight.zero_()  # as residual branches start
    net = normalised(nn.Sequential(*layers))
    for _ in range(200):  # a power iteration each
        net(torch.randn(2, 20))
    net.eval()
    for layer in layers:
        assert torch.linalg.matrix_norm(layer.weight, 2).item() == pytest.approx(1, abs=1e-3)
    x, z = torch.randn(500, 20), torch.randn(500, 20)
    slopes = (net(x) - net(z)).abs()[:, 0] / (x - z).norm(dim=1)
    assert 0 < slopes.max() <= 1


def test_double_backward_is_exact_under_bfloat16():
    torch.manual_seed(0)
    net, x = nn.Sequential(nn.Linear(5, 16), nn.Softplus(), nn.Linear(16, 1)), torch.randn(8, 5)

    def penalty() -> torch.Tensor:
        return r1(lambda x, y: net(x), x, None)[0]

    with torch.autocast("cpu", torch.bfloat16):
        rounded = net(x).dtype
        mixed = penalty()
    assert rounded == torch.bfloat16
    slopes = [torch.autograd.grad(value, net[0].weight)[0] for value in (mixed, penalty())]
    assert torch.equal(*slopes)


def test_a_pack_holds_neighbours_channel_by_channel():
    x = torch.arange(2 * 5 * 3.0).view(5, 2, 3).requires_grad_()
    rows = packed(x, 2)
    assert rows.shape == (3, 4, 3)
    assert torch.equal(rows[1], torch.cat([x[2], x[3]]))
    assert torch.equal(rows[2], torch.cat([x[4], x[0]]))  # the first fills the last
    rows.sum().backward()
    assert x.grad[:, 0, 0].tolist() == [2, 1, 1, 1, 1]


def net(kind: str):
    """A linear encoder or decoder of any shape."""

    class Linear(nn.Module):
        def __init__(self, spec: Spec, out: int = 0, latent: int = 0):
            super().__init__()
            self.spec, self.shape = spec, (out,) if kind == "encoder" else spec.shape
            self.net = nn.Linear(*((spec.dims, out) if kind == "encoder" else (latent, spec.dims)))

        def forward(self, x, y=None):
            self.told = y
            return self.net(x.flatten(1)).view(len(x), *self.shape)

    return Linear


def gan(classes: int = 0, **settings) -> GAN:
    torch.manual_seed(0)
    view = Grid(Space((2, 4), 16, classes=classes))
    return GAN(net("encoder"), net("decoder"), view=view, latent=6, **settings)


X, Y = torch.rand(8, 2, 4) * 2 - 1, torch.arange(8) % 3


def test_the_critic_of_packs_sees_packs_and_teaches_every_fake():
    model = gan(pack=4)
    assert model.critic.spec.shape == (8, 4)
    assert model.scores(X, None).shape == (2, 1)
    z = torch.randn(8, 6, requires_grad=True)
    model.critic(model.shown(model.generate(z, None))).sum().backward()
    assert (z.grad.abs().sum(1) > 0).all()


def test_a_perfect_critic_of_packs_of_two_catches_a_mode_that_is_missing():
    """Lin et al. 2018, theorem 3: the total variation of two draws grows faster when modes lack."""
    full, half = torch.full((4,), 0.25), torch.tensor([0.5, 0.5, 0.0, 0.0])

    def total_variation(p, q):
        return (p - q).abs().sum() / 2

    one, two = (
        total_variation(*(torch.kron(p, p) if k else p for p in (full, half))) for k in (0, 1)
    )
    assert one == 0.5 and two == 0.75


def test_an_augmentation_is_what_the_critic_sees_of_all_data():
    class Shift(nn.Module):
        seen = ()

        def forward(self, x):
            return x + 3

        def update(self, score_real):
            self.seen = (*self.seen, score_real)

    model = gan(augment=Shift())
    spied = []
    model.critic.register_forward_pre_hook(lambda _, args: spied.append(args[0]))
    model.critic_loss(X, None)
    model.loss(X, None)
    assert torch.equal(spied[0], X + 3) and all(x.min() >= 2 for x in spied) and len(spied) == 3
    assert len(model.augment.seen) == 1 and not model.augment.seen[0].requires_grad
    spied.clear()
    gan_ = gan(augment=Shift(), consistency=10.0)
    gan_.critic.register_forward_pre_hook(lambda _, args: spied.append(args[0]))
    logs = gan_.critic_loss(X, None).logs
    assert [bool(x.min() >= 2) for x in spied] == [False, False, True, True]
    shift = 3 * gan_.critic.net.weight.sum()
    assert torch.allclose(logs["penalty"], 2 * 10 * shift**2, rtol=1e-4)


def test_the_auxiliary_classifier_is_not_told_the_class_and_teaches_it():
    model = gan(classes=3, auxiliary=2.0)
    assert model.critic.spec.classes == 0 and model.critic.net.out_features == 4
    torch.manual_seed(1)
    loss = model.loss(X, Y)
    assert model.critic.told is None and torch.equal(model.generator.told, Y)
    torch.manual_seed(1)
    out = model.critic(model.generate(torch.randn(8, 6), Y))
    wanted = F.softplus(-out[:, 0]).mean() + 2 * F.cross_entropy(out[:, 1:], Y)
    assert torch.allclose(loss.value, wanted)


def test_codes_of_normal_latents_are_fair_and_uniform():
    codes, z = Codes(4, 2), torch.randn(40_000, 10, generator=torch.manual_seed(0))
    category, numbers = codes.split(z)
    assert torch.bincount(category).tolist() == pytest.approx([10_000] * 4, abs=400)
    assert numbers.min() > -1 and numbers.std().item() == pytest.approx(3**-0.5, abs=0.01)
    seen = codes.read(z)
    assert torch.equal(seen[:, :4].argmax(1), category) and torch.equal(seen[:, 6:], z[:, 6:])
    heads = torch.cat([100.0 * seen[:, :4], numbers], 1)
    assert codes.loss(heads, z).item() == pytest.approx(0, abs=1e-6)
    blind = codes.loss(torch.zeros_like(heads), z).item()
    assert blind == pytest.approx(torch.tensor(4.0).log().item() + 1 / 3, abs=0.01)


def test_heads_weigh_class_and_codes():
    codes, z = Codes(2, 1), torch.randn(8, 6)
    heads, out = Heads(3, 0.5, codes, 0.25), torch.randn(8, 7)
    value, logs = heads.loss(out, Y, z)
    wanted = 0.5 * F.cross_entropy(out[:, 1:4], Y) + 0.25 * codes.loss(out[:, 4:], z)
    assert heads.width == 6 and torch.allclose(value, wanted) and set(logs) == {"class", "codes"}
    assert "codes" not in heads.loss(out, Y)[1]  # real data have none


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"pack": 2, "classes": 3}, "labels=false"),
        ({"auxiliary": 1.0}, "no classes"),
        ({"consistency": 1.0}, "needs model.augment"),
        ({"info": 1.0, "categories": 10}, "1 to model.latent = 6"),
    ],
)
def test_what_does_not_fit_together_is_one_line(words: dict, message: str):
    with pytest.raises(BadInput, match=message):
        gan(**words)
