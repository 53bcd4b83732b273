"""``bpfree analyse``: files and figures, resuming, and every mistake in one line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import pytest

from .conftest import Outcome

Command = Callable[..., Outcome]
SMALL = ("--net", "mlp:2x8", "--max-passes", "2", "--limit", "100", "--batch-size", "32", "--out", "R")


@pytest.mark.parametrize(
    ("kind", "names"), [("alignment", ["alignment-cosine", "alignment-norm-ratio"]), ("orthogonality", ["orthogonality-defect"])]
)
def test_writes_json_and_figures(bpfree: Command, tmp_path: Path, kind: str, names: list[str]) -> None:
    outcome = bpfree("analyse", kind, "--rule", "foton:lr=1e-3", *SMALL)
    assert outcome.code == 0
    document = json.loads((tmp_path / "R" / f"{kind}.json").read_text())
    assert document["arm"] == "foton:lr=1e-3"
    assert document["n_train"] == 100
    assert [point["passes"] for point in document["points"]] == [0, 1, 2]
    assert "block 1" in outcome.out
    for name in names:
        svg = (tmp_path / "R" / f"{name}.svg").read_text()
        assert "foton:lr=1e-3 on mlp:2x8, digits[100]" in "".join(ElementTree.fromstring(svg).itertext())
        assert (tmp_path / "R" / f"{name}.png").read_bytes().startswith(b"\x89PNG")
        assert f"{name}.svg" in outcome.out.replace("\n", "")


def test_json_and_the_same_command_again(bpfree: Command, tmp_path: Path) -> None:
    first = bpfree("analyse", "alignment", "--arm", "feedback-alignment", *SMALL, "--json")
    assert first.code == 0
    document = json.loads(first.out)
    assert document["points"][0]["cosine"][-1] == pytest.approx(1.0)  # the output's update is backprop's
    assert abs(document["points"][0]["cosine"][0]) < 0.7
    again = bpfree("analyse", "alignment", "--arm", "feedback-alignment", *SMALL, "--json", "--quiet")
    assert json.loads(again.out) == document
    assert again.err == ""


def test_many_blocks_are_drawn_on_a_scale(bpfree: Command, tmp_path: Path) -> None:
    outcome = bpfree("analyse", "orthogonality", *SMALL, "--net", "mlp:12x8", "--max-passes", "1")
    assert outcome.code == 0
    colours = {element.get("stroke") for element in ElementTree.parse(tmp_path / "R" / "orthogonality-defect.svg").iter()}
    assert len({colour for colour in colours if colour and colour.startswith("rgb")}) >= 12


MISTAKES = [
    (("--rule", "fotn"), "unknown algorithm 'fotn'; did you mean foton"),
    (("--rule", "foton:orthogonalise_every=0"), "orthogonalise_every must be a whole number at least 1, got 0"),
    (("--rule", "foton", "--net", "lenet5:pool=max", "--dataset", "synthetic"), "block 0"),
    (("--net", "mlp:0x8"), "at least 1"),
    (("--every", "0"), "every must be at least 1, got 0"),
    (("--max-passes", "0"), "max_passes"),
    (("--examples", "0"), "n_examples must be at least 1, got 0"),
    (("--seed", "-1"), "seed must be at least 0, got -1"),
    (("--limit", "3"), "cannot limit digits to 3 training examples"),
    (("--dataset", "digit"), "did you mean digits"),
    (("--device", "tpu"), "unknown device 'tpu'"),
    (("--evry", "3"), "--every"),
]


@pytest.mark.parametrize("kind", ["alignment", "orthogonality"])
@pytest.mark.parametrize(("options", "words"), MISTAKES, ids=[" ".join(options) for options, _ in MISTAKES])
def test_a_mistake_is_one_line(bpfree: Command, tmp_path: Path, kind: str, options: tuple[str, ...], words: str) -> None:
    if kind == "orthogonality" and "--examples" in options:
        words = "No such option"
    outcome = bpfree("analyse", kind, "--out", "R", *options)
    assert outcome.code == 2
    assert words.lower() in outcome.one_line().lower()
    assert list(tmp_path.iterdir()) == []


def test_another_analysis_at_the_same_place_is_one_line(bpfree: Command) -> None:
    assert bpfree("analyse", "orthogonality", *SMALL).code == 0
    outcome = bpfree("analyse", "orthogonality", *SMALL, "--seed", "1", "--quiet")
    assert outcome.code == 2
    assert "seed = 0, this one has 1; choose another --out DIR" in outcome.one_line()


def test_a_file_in_the_way_is_one_line(bpfree: Command, tmp_path: Path) -> None:
    (tmp_path / "R").write_text("")
    outcome = bpfree("analyse", "orthogonality", *SMALL)
    assert outcome.code == 2
    assert "choose another place" in outcome.one_line()


@pytest.mark.filterwarnings("default::bpfree.algorithms.NotOrthogonalWarning")
@pytest.mark.parametrize("command", [("train", "foton"), ("analyse", "orthogonality", "--rule", "foton")], ids=" ".join)
def test_a_widening_block_is_one_line_and_no_refusal(bpfree: Command, command: tuple[str, ...]) -> None:
    """It names the block and says what is lost; the run goes on."""
    outcome = bpfree(*command, "--net", "mlp:64-80", "--max-passes", "1", "--out", "R", "--quiet")
    assert outcome.code == 0
    line = outcome.one_line()
    assert line.startswith("bpfree: warning: foton: block 1 widens from 64 to 80 (make no block wider ")
    assert "the guarantee that the update equals backprop's gradient in a linear net is lost" in line


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--set", "orthogonalise_every=0"), "orthogonalise_every must be a whole number at least 1, got 0"),
        (("--net", "lenet5:pool=max"), "block 0 (ConvBlock) pools by the maximum, which is not linear; use pool=average"),
    ],
    ids=["orthogonalise_every", "max pooling"],
)
def test_what_foton_cannot_train_is_one_line(bpfree: Command, tmp_path: Path, options: tuple[str, ...], words: str) -> None:
    outcome = bpfree("train", "foton", "--dataset", "synthetic:inputs=1x28x28", "--out", "R", *options)
    assert outcome.code == 2
    assert words in outcome.one_line()
    assert list(tmp_path.iterdir()) == []
