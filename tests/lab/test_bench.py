"""The benchmark: turns, ratios, missing packages, the table."""

import subprocess
import sys

import pytest
import torch

from aigc.core.errors import BadInput
from aigc.lab import bench


def of(contenders, **facts):
    return bench.Case("made_up", contenders, **facts)


def test_contenders_take_turns_and_are_held_against_ours():
    told = []

    def costs(name, seconds):
        def step():
            told.append(name)
            return seconds

        return lambda: step

    made = of(lambda: {"aigc": costs("a", 0.5), "other": costs("b", 1.5)}, count=10, seconds=0)
    ours, other = bench.run(made, None, turns=3)
    assert "".join(told).endswith("abbaab")
    assert ours["median"] == 20 and ours["faster"] == 1
    assert other["faster"] == pytest.approx(3) and other["range"] == pytest.approx([20 / 3] * 2)
    text = bench.table([ours, other], {})
    assert "| made_up | other | 6.67 (6.67 to 6.67) | steps/s | 3.00 (3.00 to 3.00) |" in text


def test_a_missing_package_is_named_and_left_out(capsys):
    def missing():
        import no_such_package  # noqa: F401

    made = of(lambda: {"aigc": lambda: lambda: 1.0, "them": missing}, seconds=0)
    assert [row["by"] for row in bench.run(made, None, 1)] == ["aigc"]
    assert "made_up: them is left out: No module named 'no_such_package'" in capsys.readouterr().err


def test_a_case_that_fails_costs_itself_alone(monkeypatch, capsys):
    fails = bench.Case("fails", lambda: {"aigc": lambda: 1 / 0}, seconds=0)
    works = bench.Case("works", lambda: {"aigc": lambda: lambda: 1.0}, seconds=0)
    monkeypatch.setattr(bench, "CASES", {"fails": fails, "works": works})
    monkeypatch.setattr(bench, "load", lambda: None)
    monkeypatch.setattr("aigc.lab.limits.measured", dict)
    with pytest.raises(SystemExit):
        bench.main(["all"])
    told = capsys.readouterr()
    assert "fails failed: ZeroDivisionError" in told.err and "| works | aigc |" in told.out


def test_only_named_contenders():
    made = of(lambda: {n: lambda: lambda: 1.0 for n in ("aigc", "x", "y")}, seconds=0)
    assert [row["by"] for row in bench.run(made, {"y"}, 1)] == ["aigc", "y"]


def test_flops_of_products_and_attention_are_counted():
    a, q = torch.randn(8, 16), torch.randn(2, 3, 5, 4)
    product = 2 * 8 * 16 * 8
    assert bench.flops(lambda: a @ a.T) == product
    attention = torch.nn.functional.scaled_dot_product_attention
    with torch.no_grad():
        assert bench.flops(lambda: attention(q, q, q)) == 2 * (2 * 3 * 5 * 5 * 4) * 2


def test_cases_are_listed_and_mistakes_named():
    listed = subprocess.run([sys.executable, "-m", "aigc", "bench"], capture_output=True, text=True)
    assert listed.returncode == 0 and "ar_generate_32" in listed.stdout
    with pytest.raises(BadInput, match="ar_train"):
        bench.main(["ar_trian_fp32"])
