"""Parts of a suite: the borders of its numbers, its names, its sizes, its folder of images, its list, each by value."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from pydantic import ValidationError

from bpfree import data, rulesets
from bpfree.algorithms import MonoForward
from bpfree.bench.arm import Arm
from bpfree.bench.suites import estimate as estimating
from bpfree.bench.suites import images
from bpfree.bench.suites.estimate import time_steps
from bpfree.bench.suites.files import load, names
from bpfree.bench.suites.images import images_of
from bpfree.bench.suites.listing import listed
from bpfree.bench.suites.scale import n_scaled, scaled_data
from bpfree.bench.suites.schema import Inline, RulesetUse, Section, Suite
from bpfree.bench.suites.sizes import FROM_FOLDER, KNOWN, Size
from bpfree.data.splits import digest
from bpfree.errors import BpfreeError, DataError, UsageError
from bpfree.meter import Meter

from .test_suite_values import SUITE

ANY: Any = None
CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("changes", "taken"),
    [
        ({"test_accuracy_percent": 0.0}, True), ({"test_accuracy_percent": 100.0}, True),
        ({"test_accuracy_percent": -0.5}, False), ({"test_accuracy_percent": 100.5}, False),
        ({"test_accuracy_percent": float("nan")}, False),
        ({"sd_percent": 0.0}, False), ({"sd_percent": 0.125}, True), ({"sd_percent": float("inf")}, False),
        ({"runs": 0}, False), ({"runs": 1}, True), ({"source": ""}, False), ({"source": "x"}, True),
    ],
)  # fmt: skip
def test_bounds_of_a_number_in_a_suite(changes: dict[str, Any], taken: bool) -> None:
    given = {"test_accuracy_percent": 50.0, "source": "by hand"} | changes
    if taken:
        assert Inline.model_validate(given).second_hand is False
        return
    with pytest.raises(ValidationError):
        Inline.model_validate(given)


ROW: dict[str, Any] = {"dataset": "mnist", "net": "mlp:1x8", "arm": "backprop"}
NUMBER = {"test_accuracy_percent": 50.0, "source": "by hand"}


def suite(**changes: Any) -> dict[str, Any]:
    """The smallest suite: one ruleset, one section, one row."""
    section = {"title": "T", "ruleset": "q", "rows": [ROW | {"published": NUMBER}]}
    return {"name": "s", "title": "t", "paper": "p", "rulesets": {"q": {"base": "quick"}}, "sections": [section]} | changes


def test_a_suite_has_at_least_one_of_each() -> None:
    assert Suite.model_validate(suite()).arms == ("backprop",)
    for key, empty in (("rulesets", {}), ("sections", []), ("name", "")):
        with pytest.raises(ValidationError):
            Suite.model_validate(suite(**{key: empty}))
    with pytest.raises(ValidationError):
        Section.model_validate({"title": "T", "ruleset": "q", "rows": []})


@pytest.mark.parametrize(
    ("row", "section"),
    [
        ({"arm": "no-rule", "published": NUMBER}, {}),
        ({"rehearsal": "no_field=1", "published": NUMBER}, {}),
        ({}, {"published": "no-table"}),
        ({"published": NUMBER}, {"published": "no-table"}),
        ({"net": "mlp:9x9"}, {"published": "mf2025"}),
    ],
    ids=["arm", "rehearsal", "table", "table beside a number", "row"],
)
def test_names_in_a_section_are_looked_up(row: dict[str, Any], section: dict[str, Any]) -> None:
    with pytest.raises((ValidationError, BpfreeError)):
        Section.model_validate({"title": "T", "ruleset": "q", "rows": [ROW | row]} | section)


def test_rows_of_a_plan_have_the_reason_why_there_is_no_number() -> None:
    section = Section.model_validate({"title": "T", "ruleset": "q", "unpublished": "a plan", "rows": [ROW]})
    number = section.number(section.rows[0])
    assert (number.source, number.accuracy, number.difference, number.second_hand) == ("not published: a plan", None, None, False)
    assert (number.key, number.table) == (("mnist", "mlp:1x8", "backprop", "", ""), "suite")


def test_rulesets_of_a_suite_may_be_unequal(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    monkeypatch.setattr(rulesets.Ruleset, "check_use", lambda self, use: asked.append(use))
    use = RulesetUse.model_validate({"base": "quick", "changes": {"batch_size": 7}, "why": "a test"})
    assert (use.load().batch_size, asked) == (7, ["reproduce"])


@pytest.mark.parametrize(("extra", "told"), [(0, ""), (1, " (and 1 more)"), (2, " (and 2 more)")])
def test_the_first_problem_of_a_file_and_how_many_there_are(extra: int, told: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    fields = {key: value for key, value in suite().items() if key not in ["title", "paper"][:extra]} | {"zzzz": 1}
    path.write_text(json.dumps(fields))
    with pytest.raises(UsageError) as error:
        load(path)
    assert str(error.value) == f"suite {path}: unknown key 'zzzz'; remove it{told}"


def test_suites_that_come_with_the_package() -> None:
    for name in names():
        assert {row.dataset for section in load(name).sections for row in section.rows} <= set(KNOWN)


def test_known_sizes() -> None:
    """As their makers publish them: 60,000 and 50,000 training images of which some validate, 10,000 test images."""
    wholes = {name: size.n_train + size.n_validation for name, size in KNOWN.items()}
    small = {"mnist": 60_000, "fashion-mnist": 60_000, "cifar10": 50_000, "cifar100": 50_000}
    assert wholes == small | dict.fromkeys(FROM_FOLDER, 1_281_167)
    assert {size.n_test for name, size in KNOWN.items() if name in small} == {10_000}
    assert [KNOWN[name].n_validation for name in small] == [10_000, 6_000, 5_000, 5_000]
    assert [(KNOWN[name].n_validation, KNOWN[name].n_test, KNOWN[name].n_classes) for name in FROM_FOLDER] == [
        (50_000, 50_000, 1000)
    ] * 2
    assert [KNOWN[name].n_classes for name in small] == [10, 10, 10, 100]
    assert [KNOWN[name].in_shape for name in (*small, *FROM_FOLDER)] == [
        (1, 28, 28), (1, 28, 28), (3, 32, 32), (3, 32, 32), (3, 64, 64), (3, 224, 224),
    ]  # fmt: skip
    digits = data.load("digits")
    assert Size.of(digits) == Size((1, 8, 8), 10, digits.n("train"), digits.n("validation"), digits.n("test"))
    assert (n_scaled(100, 0.001, 1), n_scaled(100, 0.001, 3)) == (1, 3)


def test_the_list_of_a_suite() -> None:
    shown = listed(SUITE)
    assert (shown["title"], shown["paper"], len(shown["rows"])) == ("A small suite", "us", 5)
    assert shown["rows"][2] == {
        "section": "Table 1", "ruleset": "one", "dataset": "cifar10", "net": "mlp:1x8", "arm": "mono-forward",
        "published_accuracy": 0.4, "published_difference": None, "second_hand": False, "source": "by hand",
        "not_run": "too long",
    }  # fmt: skip
    assert [row["not_run"] for row in shown["rows"]] == [None, None, "too long", None, None]
    assert (shown["rows"][1]["second_hand"], shown["rows"][3]["ruleset"]) == (True, "two")


def test_a_folder_of_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(images.KNOWN, "mine", Size((3, 4, 5), 1234, 1, 1, 1))
    split, asked = ANY, "mine is a folder of images of 4 x 5 with train/ and val/"
    found: Any = SimpleNamespace(in_shape=(3, 4, 5), n_classes=1234)
    named: list[Any] = []
    monkeypatch.setattr(images.datasets, "load_any", lambda source, **more: named.append((source, more)) or found)

    def refused(folder: Path | None) -> str:
        with pytest.raises(DataError) as error:
            images_of("mine", folder, split, 7)
        return str(error.value)

    assert refused(None) == f"{asked}, one folder a class in each; give --dataset DIR, or --dry-run, which needs none"
    for part in ("train", "val"):
        (tmp_path / part).mkdir()
        (tmp_path / part / "a file").touch()
        told = f"{asked}, and {tmp_path / part} holds no folder of a class; give --dataset DIR of such a folder"
        assert refused(tmp_path) == told
        (tmp_path / part / "class").mkdir()
    assert images_of("mine", tmp_path, split, 7) is found
    assert named == [(str(tmp_path), {"split": split, "split_seed": 7})]
    for shape, n_classes in (((3, 5, 4), 1234), ((3, 4, 5), 1233)):
        found = SimpleNamespace(in_shape=shape, n_classes=n_classes)
        assert refused(tmp_path) == (
            f"{asked} and 1,234 classes, and {tmp_path} has images of {' x '.join(map(str, shape))} and {n_classes:,} classes; "
            "choose rows by --datasets, or give another --dataset DIR"
        )


def test_steps_are_timed_in_each_phase_and_scores_after_the_last(monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[Any] = []

    def scores(self: Any, net: Any, state: Any, x: torch.Tensor, phase: Any) -> torch.Tensor:
        done.append(("scores", phase.index, net.training, torch.is_grad_enabled(), tuple(x.shape)))
        return torch.zeros(1)

    def step(rule: Any, net: Any, state: Any, batch: Any, phase: Any) -> torch.Tensor:
        done.append(("step", phase.index, len(batch.y), int(batch.y.max()) < 3))
        return torch.zeros(1)

    monkeypatch.setattr(MonoForward, "scores", scores)
    monkeypatch.setattr(estimating, "step", step)
    monkeypatch.setattr(estimating, "_mean_s", lambda work: work())
    made = time_steps(Arm.parse("mono-forward:schedule=staged"), "mlp:3x4", Size((6,), 3, 10, 2, 2), 50, CPU, Meter(CPU))
    assert done == [*(("step", index, 50, True) for index in range(3)), ("scores", 2, False, False, (50, 6))]
    assert made.step_s == (0.0, 0.0, 0.0)


def test_data_of_a_ruleset_that_is_not_scaled_keep_their_validation_and_test_splits() -> None:
    whole, rules = data.load("synthetic:n=300:inputs=4:classes=3"), rulesets.load("quick")
    for split, limit in ((210, None), (210, 999), (60, 60)):
        same = scaled_data(whole, rules.with_changes(train_examples=limit), 64)
        assert {name: same.n(name) for name in same.splits} == {"train": split, "validation": 45, "test": 45}
        assert "SCALED" not in same.note
        assert torch.equal(same.splits["test"].x, whole.splits["test"].x)
    small = scaled_data(whole, rules.scaled(0.2), 64)
    assert {name: small.n(name) for name in small.splits} == {"train": 64, "validation": 9, "test": 9}
    assert (
        small.note == f"{whole.note} Limited to 64 of 210 training examples. SCALED: validation 9 of 45, test 9 of 45 examples."
    )
    assert small.split_digest == digest(whole.limited(64).split_digest, "validation 9 of 45", "test 9 of 45")
