"""The landscape as a file: what is in it, that it goes on where it was stopped, what it leaves out and why."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from scipy import stats

from bpfree.analysis import LandscapePlan, Surface, read_minima, record_landscape
from bpfree.analysis.landscape_stats import compared, unknown
from bpfree.data import Dataset
from bpfree.errors import RunDirectoryError, UnknownNameError, UsageError

PLAN = LandscapePlan(examples=50, points=3, plane_points=2, directions=2, probes=2)


def record(files: list[Path], digits: Dataset, folder: Path, plan: LandscapePlan = PLAN, **options: Any) -> dict[str, Any]:
    return record_landscape(read_minima(files), digits, plan, folder, **options)


def test_all_parts_of_four_models(model_files: dict[str, Path], digits: Dataset, tmp_path: Path) -> None:
    document = record(list(model_files.values()), digits, tmp_path, facts={"command": "as given"})
    assert json.loads((tmp_path / "landscape.json").read_text()) == document
    assert document["complete"]
    assert (document["dataset"], document["net"], document["examples"], document["command"]) == (
        "digits",
        "mlp:4-4",
        50,
        "as given",
    )
    names = [model["name"] for model in document["models"]]
    for part in ("slices", "sharpness", "curvature"):
        assert [entry["of"] for entry in document[part]] == [[name] for name in names]
    assert len(document["line"]) == 4
    (plane,) = document["plane"]
    assert plane["of"] == ["backprop, seed 0", "mono-forward, seed 0"]
    loss = {entry["of"][0]: entry["loss"] for entry in document["slices"]}
    assert plane["at_corners"][:2] == pytest.approx([loss[name] for name in plane["of"]], abs=1e-6)
    assert plane["at_corners"][2] == pytest.approx(math.log(10), abs=0.05)  # the start knows nothing
    for entry in document["line"]:
        assert [entry["loss"][0], entry["loss"][-1]] == pytest.approx([loss[name] for name in entry["of"]], abs=1e-6)
    assert document["notes"] == [
        "mono-forward never follows this loss's gradient through the whole net: the picture shows where it ended, not how it got "
        "there"
    ]
    flat = "backprop, seed 1, mono-forward, seed 0, mono-forward, seed 1"
    assert document["reasons"] == {
        "comparison of width": f"the loss does not rise by 0.1 nats within the slices of {flat}; give a larger --radius"
    }
    assert "width" not in document["comparison"]
    assert document["comparison"]["barrier"]["mono-forward"]["by_seed"] == {"0": document["line"][3]["barrier"]}
    row = document["comparison"]["loss"]["mono-forward"]
    assert row["verdict"].startswith("not judged: 2 paired seeds, at least 5 are needed")
    assert row["difference"]["low"] < row["difference"]["mean"] < row["difference"]["high"]


def test_a_stopped_one_goes_on_to_the_same_bytes(model_files: dict[str, Path], digits: Dataset, tmp_path: Path) -> None:
    files = [model_files["backprop-0"], model_files["mono-forward-0"]]
    whole = record(files, digits, tmp_path / "whole")
    seen: list[str] = []

    def stop(name: str, _: dict[str, Any]) -> None:
        seen.append(name)
        if len(seen) == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        record(files, digits, tmp_path / "stopped", on_unit=stop)
    assert not json.loads((tmp_path / "stopped" / "landscape.json").read_text())["complete"]
    assert record(files, digits, tmp_path / "stopped", on_unit=stop) == whole
    assert len(seen) == len(set(seen)) == 8  # three around each, a line, a plane: each once
    assert record(files, digits, tmp_path / "stopped", on_unit=stop) == whole
    assert len(seen) == 8
    texts = {(tmp_path / name / "landscape.json").read_text() for name in ("whole", "stopped")}
    assert len(texts) == 1
    with pytest.raises(RunDirectoryError, match=r"an analysis with points = 3, this one has 5; choose another --out DIR"):
        record(files, digits, tmp_path / "whole", LandscapePlan(examples=50, points=5, plane_points=2, directions=2, probes=2))
    with pytest.raises(RunDirectoryError, match="an analysis with other models"):
        record(files[:1], digits, tmp_path / "whole", PLAN)


def test_float64_on_request(
    model_files: dict[str, Path], digits: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same numbers to rounding, and computed in that format."""
    made: list[torch.dtype] = []
    loss_and_accuracy = Surface.loss_and_accuracy

    def spied(surface: Surface, vector: torch.Tensor) -> tuple[float, float]:
        made.append(surface._material.x.dtype)
        return loss_and_accuracy(surface, vector)

    monkeypatch.setattr(Surface, "loss_and_accuracy", spied)
    losses = []
    for double in (False, True):
        plan = LandscapePlan(parts=("slices",), examples=50, points=3, directions=1, double=double)
        losses.append(record([model_files["backprop-0"]], digits, tmp_path / str(double), plan)["slices"][0]["mean"])
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
    assert list(dict.fromkeys(made)) == [torch.float32, torch.float64]


def test_a_start_may_be_given(model_files: dict[str, Path], digits: Dataset, tmp_path: Path) -> None:
    files = [model_files["backprop-0"], model_files["mono-forward-0"]]
    third = read_minima([model_files["backprop-1"]])[0]
    plan = LandscapePlan(parts=("plane",), examples=50, plane_points=2)
    document = record(files, digits, tmp_path / "one", plan, start=third)
    alone = record([model_files["backprop-1"]], digits, tmp_path / "two", LandscapePlan(parts=("slices",), examples=50, points=2))
    assert document["plane"][0]["at_corners"][2] == pytest.approx(alone["slices"][0]["loss"], abs=1e-6)


def test_what_cannot_be_is_refused_or_left_out(model_files: dict[str, Path], digits: Dataset, tmp_path: Path) -> None:
    one, other = [model_files["backprop-0"]], [model_files["backprop-0"], model_files["mono-forward-1"]]
    for part in ("line", "plane"):
        with pytest.raises(UsageError, match=f"a {part} needs two models, got 1; give another model, or --part slices"):
            record(one, digits, tmp_path, LandscapePlan(parts=(part,)))
    with pytest.raises(UsageError, match="no plane can be computed: no two models of two rules have one seed in common"):
        record(other, digits, tmp_path, LandscapePlan(parts=("plane",)))
    assert list(tmp_path.iterdir()) == []


def test_numbers_out_of_range() -> None:
    for fields, words in (
        ({"points": 0}, "points must be at least 2, got 0"),
        ({"plane_points": 1}, "plane_points must be at least 2, got 1"),
        ({"rho": -0.05}, "rho must be a finite number above 0, got -0.05"),
        ({"radius": math.inf}, "radius must be a finite number above 0, got inf"),
        ({"examples": 0}, "examples must be at least 1"),
    ):
        with pytest.raises(UsageError, match=words):
            LandscapePlan(**fields)
    with pytest.raises(UnknownNameError, match="unknown part 'slice'; did you mean slices"):
        LandscapePlan(parts=("slice",))


def test_comparison_over_seeds_by_hand() -> None:
    """Five seeds: the paired t interval of the differences, and the words of so many seeds."""
    ours, theirs = [0.50, 0.52, 0.49, 0.53, 0.51], [0.40, 0.43, 0.40, 0.42, 0.41]
    labels = {"bp": ours, "mf": theirs}
    models = [{"name": f"{label}, seed {k}", "label": label, "seed": k} for label in labels for k in range(5)]
    slices = [
        {
            "of": [f"{label}, seed {k}"],
            "loss": value,
            "accuracy": 0.9 + 0.001 * (k if label == "bp" else 4 - k),
            "rise": 1.0,
            "width": None,
        }
        for label, values in labels.items()
        for k, value in enumerate(values)
    ]
    document = {"models": models, "slices": slices, "sharpness": [], "curvature": [], "line": []}
    table = compared(document)
    assert set(table) == {"loss", "accuracy", "rise"}  # no width was reached, the rest was not computed
    d = [b - a for a, b in zip(ours, theirs, strict=True)]
    expected = stats.t.interval(0.95, 4, loc=sum(d) / 5, scale=stats.sem(d))
    row = table["loss"]["mf"]
    assert (row["difference"]["low"], row["difference"]["high"]) == pytest.approx(expected)
    assert row["verdict"] == "better"  # a lower loss
    assert table["accuracy"]["mf"]["verdict"] == "inconclusive"  # 0 ± 0.39 points, and only 0.25 are too few to matter
    low, high = stats.t.interval(0.95, 4, loc=sum(ours) / 5, scale=stats.sem(ours))
    assert (table["loss"]["bp"]["interval"]["low"], table["loss"]["bp"]["interval"]["high"]) == pytest.approx((low, high))
    assert "difference" not in table["loss"]["bp"]
    assert unknown(document) == {}


def test_a_quantity_that_some_models_do_not_have_is_not_compared_over_the_others() -> None:
    """The flattest are those without a width: what is left would favour the sharper ones."""
    models = [{"name": f"{label}, seed {k}", "label": label, "seed": k} for label in ("bp", "mf") for k in range(3)]
    slices = [{"of": [m["name"]], "loss": 0.5, "accuracy": 0.9, "rise": 1.0 + m["seed"], "width": 0.4} for m in models]
    lines = [
        {"of": ["bp, seed 0", f"{label}, seed 1"], "between": "other start", "barrier": barrier}
        for label, barrier in (("bp", 0.5), ("mf", None))
    ]
    document = {"models": models, "slices": slices, "sharpness": [], "curvature": [], "line": lines}
    assert {"width", "rise"} <= set(compared(document))
    slices[4]["width"] = slices[5]["rise"] = None
    assert set(compared(document)) == {"loss", "accuracy"}
    assert unknown(document) == {
        "comparison of rise": "it is not finite for mf, seed 2",
        "comparison of width": "the loss does not rise by 0.1 nats within the slices of mf, seed 1; give a larger --radius",
        "comparison of barrier": "it is not finite between bp, seed 0 and mf, seed 1",
    }
