"""What Python and notebooks call beside the tasks: samples side by side, real examples, records,
tables, studies."""

import subprocess
import sys

import matplotlib.pyplot as plt
import pytest
import torch

import aigc
from aigc.core.errors import BadInput
from aigc.lab.studies import studies


@pytest.fixture(scope="module")
def table(smoke):
    run = aigc.load(smoke("model=vae", "modality=tabular"))
    if not run.record.rows:
        aigc.evaluate(run, "metrics=[fd]", "extractors=[randconv]")
    return run


def test_a_slice_of_samples_keeps_ids_and_labels_together(table):
    whole = table.sample(12, seed=3)
    part = whole[4:9]
    assert len(part) == 5 and part.codec is whole.codec
    assert torch.equal(part.ids, whole.ids[4:9]) and torch.equal(part.y, whole.y[4:9])
    assert part.data.equals(whole.data[4:9].reset_index(drop=True))


def test_real_examples_are_those_of_the_store(table):
    ids, y = table.store.examples("test", 20)
    found = table.examples(20)
    assert torch.equal(found.ids, ids) and torch.equal(found.y, y)
    assert not torch.equal(table.examples(20, "train").ids, ids)
    with pytest.raises(BadInput, match="unknown split 'tset'"):
        table.examples(20, "tset")


def test_a_sheet_has_a_named_row_for_each_part(smoke):
    run = aigc.load(smoke("model=vae", "modality=image"))
    figure = aigc.sheet({"real": run.examples(5), "drawn": run.sample(5)}, list("abcde"))
    (axis,) = figure.axes
    assert [text.get_text() for text in axis.get_yticklabels()] == ["real", "drawn"]
    assert [text.get_text() for text in axis.get_xticklabels()] == list("abcde")
    canvas, first = axis.images[0].get_array(), run.examples(1).data[0, 0]
    assert (canvas[: len(first), : len(first), 0] == first).all()
    plt.close(figure)


def test_a_sheet_of_unequal_rows_or_of_text_is_refused(smoke, table):
    picture = aigc.load(smoke("model=vae", "modality=image"))
    with pytest.raises(BadInput, match="rows of one length"):
        aigc.sheet({"a": picture.sample(2), "b": picture.sample(3)})
    with pytest.raises(BadInput, match="rows of one length"):
        aigc.sheet({"a": picture.sample(2), "b": table.sample(2)})
    text = aigc.load(smoke("model=autoregressive", "modality=text"))
    with pytest.raises(BadInput, match=r"print their \.data"):
        aigc.sheet({"a": text.examples(2)})


def test_records_and_tables_are_those_of_compare(table):
    (record,) = aigc.records(table)
    assert record.rows == table.record.rows and record.log() == table.record.log()
    (found,) = aigc.tables(table.dir.path, metrics=["fd"])
    assert {column.metric for column in found.columns} == {"fd"}
    assert {line.family for line in found.references} >= {"real", "marginals"}


def test_studies_are_those_of_the_command_line():
    found = aigc.studies("smoke")
    assert found.keys() == studies("smoke").keys() and found["dirac_gan"].budget == "smoke"


@pytest.mark.parametrize(
    "first, backend", [("import sys", "agg"), ("import matplotlib.pyplot", "svg")]
)
def test_whoever_chose_a_way_to_show_figures_keeps_it(first: str, backend: str):
    code = f"{first}; import aigc.analysis.figures as f; print(f.matplotlib.get_backend())"
    found = subprocess.run(
        [sys.executable, "-c", code], env={"MPLBACKEND": "svg"}, capture_output=True, text=True
    )
    assert found.stdout.strip().lower() == backend, found.stderr
