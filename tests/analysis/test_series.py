"""An analysis as a file: what is in it, that it goes on where it was stopped, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from bpfree.algorithms import Backprop, CascadedForward, FeedbackAlignment, Foton, NotOrthogonalWarning
from bpfree.analysis import SeriesPlan, record_series
from bpfree.errors import RunDirectoryError, UsageError
from bpfree.nets import Chain, mlp
from bpfree.testing.bench import blobs

DATA = blobs().without_test()
PLAN = SeriesPlan(max_passes=5, every=2, batch_size=32)
IDENTITY = {"arm": "feedback-alignment"}


def net(depth: int = 2) -> Chain:
    return mlp(16, (12,) * depth, 4, "tanh")


def record(folder: Path, kind: str = "alignment", plan: SeriesPlan = PLAN, **options: Any) -> dict[str, Any]:
    return record_series(kind, FeedbackAlignment(lr=0.01), net(), DATA, plan, folder, IDENTITY, **options)


@pytest.mark.parametrize(("kind", "names"), [("alignment", ["cosine", "norm_ratio"]), ("orthogonality", ["defect"])])
def test_the_file_holds_every_look(tmp_path: Path, kind: str, names: list[str]) -> None:
    seen: list[dict[str, Any]] = []
    document = record(tmp_path, kind, facts={"command": "as given"}, on_point=seen.append)
    assert json.loads((tmp_path / f"{kind}.json").read_text()) == document
    assert document["points"] == seen
    assert [point["passes"] for point in seen] == [0, 2, 4, 5]
    assert all(list(point) == ["passes", *names] for point in seen)
    assert all(len(point[name]) == len(document["parts"]) == 3 for point in seen for name in names)
    assert document["complete"]
    assert document["reasons"] == {}
    assert {key: document[key] for key in ("arm", "max_passes", "every", "command")} == {
        "arm": "feedback-alignment",
        "max_passes": 5,
        "every": 2,
        "command": "as given",
    }
    assert sorted(path.name for path in tmp_path.iterdir()) == [".lock", f"{kind}.json"]


@pytest.mark.parametrize("kind", ["alignment", "orthogonality"])
@pytest.mark.parametrize("stopped_at", [0, 2, 4])
def test_a_stopped_analysis_goes_on(tmp_path: Path, kind: str, stopped_at: int) -> None:
    """The same numbers as without a stop; what was looked at already is not looked at again."""

    def stop(point: dict[str, Any]) -> None:
        if point["passes"] == stopped_at:
            raise KeyboardInterrupt

    whole = record(tmp_path / "whole", kind)
    with pytest.raises(KeyboardInterrupt):
        record(tmp_path / "stopped", kind, on_point=stop)
    again: list[dict[str, Any]] = []
    assert record(tmp_path / "stopped", kind, on_point=again.append) == whole
    assert [point["passes"] for point in again] == [passes for passes in (0, 2, 4, 5) if passes > stopped_at]


def test_a_look_that_was_lost_after_its_checkpoint_starts_anew(tmp_path: Path) -> None:
    whole = record(tmp_path / "whole")

    def stop(point: dict[str, Any]) -> None:
        if point["passes"] == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        record(tmp_path / "killed", on_point=stop)
    path = tmp_path / "killed" / "alignment.json"
    there = json.loads(path.read_text())
    path.write_text(json.dumps({**there, "points": there["points"][:-1]}))
    again: list[dict[str, Any]] = []
    assert record(tmp_path / "killed", on_point=again.append) == whole
    assert len(again) == 4


def test_a_finished_analysis_is_read_not_made_again(tmp_path: Path) -> None:
    whole, again = record(tmp_path), []
    assert record(tmp_path, on_point=again.append) == whole
    assert again == []


def test_another_analysis_in_the_same_place_is_refused(tmp_path: Path) -> None:
    record(tmp_path)
    with pytest.raises(RunDirectoryError, match="an analysis with every = 2, this one has 1; choose another"):
        record(tmp_path, plan=SeriesPlan(max_passes=5, batch_size=32))
    (tmp_path / "orthogonality.json").write_text("[]")
    with pytest.raises(RunDirectoryError, match="no analysis of bpfree"):
        record(tmp_path, "orthogonality")


def test_what_is_undefined_is_null_with_its_reason(tmp_path: Path) -> None:
    """In the block phase of Cascaded-Forward the output does not move; with a ridge predictor there is one pass."""
    rule = CascadedForward(predictor="ridge")
    document = record_series(
        "alignment", rule, net(), DATA, SeriesPlan(max_passes=3, batch_size=32), tmp_path, {"arm": "caforward"}
    )
    assert document["points"][0]["cosine"][0] is None
    assert "null: the update or the gradient of the block is zero" in document["reasons"]["points"]
    assert [point["passes"] for point in document["points"]] == [0, 1]
    assert "fewer than asked" in document["reasons"]["passes"]


@pytest.mark.parametrize(
    ("field", "value"), [("max_passes", 0), ("every", 0), ("batch_size", 0), ("n_examples", 0), ("seed", -1)]
)
def test_numbers_out_of_range(field: str, value: int) -> None:
    with pytest.raises(UsageError, match=f"{field} must be at least"):
        SeriesPlan(**{"max_passes": 1, field: value})


def test_backprop_is_aligned_and_foton_warns_of_a_widening_net(tmp_path: Path) -> None:
    document = record_series("alignment", Backprop(), net(), DATA, PLAN, tmp_path / "a", {})
    assert all(value == pytest.approx(1.0) for point in document["points"] for value in point["cosine"])
    wide = mlp(16, (12, 20), 4, "tanh")
    with pytest.warns(NotOrthogonalWarning, match="block 1 widens from 12 to 20"):
        record_series("orthogonality", Foton(), wide, DATA, PLAN, tmp_path / "b", {})
