"""The report on robustness, on all four families."""

import pytest

import aigc
from aigc.lab.conf import compose
from aigc.lab.robustness import measure
from aigc.runs import RunDir

CASES = [("autoregressive", "text"), ("diffusion", "image"), ("vae", "audio"), ("gan", "tabular")]


def folder(smoke, family: str, modality: str):
    return smoke(f"model={family}", f"modality={modality}", "trainer.preview=8")


@pytest.mark.parametrize(("family", "modality"), CASES)
def test_losses_rise_under_attack(smoke, family: str, modality: str):
    run = aigc.load(folder(smoke, family, modality))
    words = [f"run={run.dir}", "n=40", "batch_size=20", "eps=[0,0.1]", "strengths=[0,0.5]"]
    rows = measure(run, compose("robustness", words))
    table = {(row["change"], row["size"]): row["value"] for row in rows}
    clean = {value for (_, size), value in table.items() if size == 0}
    assert max(clean) - min(clean) < 1e-5 * (1 + abs(max(clean)))
    assert table["pgd", 0.1] > max(table["random", 0.1], max(clean))
    assert table["fgm", 0.1] > max(clean)
    assert {row["score"] for row in rows} == {"critic" if family == "gan" else "loss"}
    again = measure(run, compose("robustness", words))
    assert rows == again


def test_a_figure_of_a_run_and_of_several(aigc, smoke, tmp_path):
    one, two = folder(smoke, "vae", "image"), smoke("model=gan", "trainer.preview=8")
    words = ["n=20", "eps=[0,0.1]", "strengths=[0,0.5]"]
    code, out, _ = aigc("robustness", f"run={one}", *words)
    assert code == 0 and out.strip() == str(one / "robustness.png")
    assert len(RunDir(one).rows("robustness.jsonl")) == 12
    code, out, err = aigc("robustness", f"run=[{one},{two}]", *words, f"out={tmp_path}")
    assert code == 0 and (tmp_path / "robustness.png").stat().st_size > 5000 and "2/2" in err
    code, _, err = aigc("robustness", f"run={one}", "strengths=[2]")
    assert code == 2 and "strengths from 0 to 1" in err
    code, _, err = aigc("robustness")
    assert code == 2 and "say which run" in err
