"""BLEU is sacrebleu's, and says so."""

import sacrebleu

from aigc.metrics.registry import METRICS, Evidence
from aigc.metrics.suite import judge

FOUND = ["the cat sat on the mat", "a dog barks loudly", "it rains", "birds sing in the tree"]
WANTED = ["the cat is on the mat", "the dog barks", "it is raining", "birds sing in a tree"]


def rows(found: list[str], wanted: list[str]) -> dict[str, dict]:
    evidence = {"x@1": Evidence("text", continued=(found, wanted))}
    names = [f"bleu_{n}" for n in (1, 2, 3, 4)]
    return {row["metric"]: row for row in judge(evidence, "set/test#1", names=names)}


def test_bleu_is_that_of_sacrebleu():
    out = rows(FOUND, WANTED)
    assert out["bleu_4"]["value"] == sacrebleu.corpus_bleu(FOUND, [WANTED]).score
    # unigrams by hand: 4 of 6 + 2 of 4 + 1 of 2 + 4 of 5 match, 17 written for 17 wanted
    assert abs(out["bleu_1"]["value"] - 100 * 12 / 17) < 1e-9
    values = [out[f"bleu_{n}"]["value"] for n in (1, 2, 3, 4)]
    assert values == sorted(values, reverse=True)
    assert all(row["sd"] > 0 for row in out.values())


def test_the_protocol_holds_the_signature():
    protocol = rows(FOUND, WANTED)["bleu_2"]["protocol"]
    for part in ("bleu_2@1", "set/test#1", "ref=4", "nrefs:1", "tok:13a", sacrebleu.__version__):
        assert part in protocol


def test_equal_texts_have_all_of_it():
    assert rows(WANTED, WANTED)["bleu_1"]["value"] > 99.99


def test_without_continuations_it_is_skipped():
    evidence = {"x@1": Evidence("text")}
    (row,) = judge(evidence, "set/test#1", names=["bleu_1"])
    assert row["status"] == "skipped" and METRICS["bleu_1"].better == "high"
