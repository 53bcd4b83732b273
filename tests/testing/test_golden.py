"""Golden trajectories: written by a command, compared to ten digits."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import pytest
from third_party_rule import Renewing

from bpfree.algorithms import ForwardForward, MonoForward
from bpfree.testing import golden

STAGED = MonoForward(schedule="staged")


def test_the_file_is_named_after_what_is_no_default() -> None:
    assert golden.file_name(MonoForward()) == "mono-forward.json"
    assert golden.file_name(MonoForward(lr=1e-2, schedule="staged")) == "mono-forward,lr=0.01,schedule=staged.json"


def test_the_command_writes_new_files_and_rewrites_old_ones(tmp_path: Path, capsys) -> None:
    assert golden.main([str(tmp_path), "mono-forward:schedule=staged", "forward-forward"]) == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["forward-forward.json", "mono-forward,schedule=staged.json"]
    path = tmp_path / golden.file_name(STAGED)
    before = path.read_text()
    path.write_text(before.replace('"losses": [[', '"losses": [[9.0, '))
    assert golden.main([str(tmp_path)]) == 0
    assert path.read_text() == before
    assert str(path) in capsys.readouterr().out


def test_the_command_makes_the_folder(tmp_path: Path) -> None:
    folder = tmp_path / "tests" / "golden"
    assert golden.main([str(folder), "mono-forward"]) == 0
    assert json.loads((folder / "mono-forward.json").read_text())["algorithm"] == "mono-forward"


def test_a_rule_that_is_not_installed_is_named_by_its_class(tmp_path: Path, capsys) -> None:
    words = "third_party_rule:Renewing:renew_every=2"
    assert golden.main([str(tmp_path), words]) == 0
    assert [path.name for path in tmp_path.iterdir()] == ["renewing,renew_every=2.json"]
    assert golden.words_of(Renewing(renew_every=2)) == words
    assert golden.words_of(STAGED) == "mono-forward:schedule=staged"
    for wrong, told in {
        "third_party_rule:Chain": "third_party_rule:Chain is no class derived from bpfree.algorithms.Algorithm",
        "third_party_rule:Renewin": "did you mean Renewing",
        "no_such_module:Rule": "there is no module no_such_module",
        "third_party_rule:Renewing:tilt=1": "unknown hyper-parameter of renewing 'tilt'",
    }.items():
        assert golden.main([str(tmp_path), wrong]) == 2
        message = capsys.readouterr().err
        assert told in message and message.count("\n") == 1


def test_the_command_explains_itself(capsys) -> None:
    assert golden.main([]) == 2
    assert "python -m bpfree.testing.golden DIR" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("rules", "told"),
    [
        (["mono-forward:staged"], "NAME:key=value"),
        (["frozen:staged"], "NAME:key=value"),
        (["mono-foward"], "did you mean mono-forward"),
        ([], "holds no trajectories; name rules behind it"),
    ],
)
def test_a_mistake_is_one_line_and_writes_nothing(rules: list[str], told: str, capsys, tmp_path: Path) -> None:
    assert golden.main([str(tmp_path), *rules]) == 2
    message = capsys.readouterr().err
    assert told in message
    assert message.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_a_trajectory_survives_its_file_to_the_last_bit() -> None:
    now = golden.trajectory(STAGED)
    assert golden.differences(json.loads(json.dumps(now)), now) == []
    assert len(now["losses"]) == 2 * len(golden.SIZES)  # two blocks, two phases


def test_every_kind_of_difference_is_seen() -> None:
    stored = golden.trajectory(STAGED)

    def spoilt(change) -> list[str]:
        now = copy.deepcopy(stored)
        change(now)
        return golden.differences(stored, now)

    def nudge(values: list, by: float) -> None:
        values[0] += by

    assert spoilt(lambda now: nudge(now["losses"][3], 1e-12)) == []
    assert "loss of step 4" in spoilt(lambda now: nudge(now["losses"][3], 1e-9))[0]
    assert "scores" in spoilt(lambda now: nudge(now["scores"][0], 1e-9))[0]
    assert "net.output.weight" in spoilt(lambda now: nudge(now["learned"]["net.output.weight"][0], -1e-9))[0]
    assert "became" in spoilt(lambda now: now["learned"].pop("net.output.weight"))[0]
    assert "steps became" in spoilt(lambda now: now["losses"].pop())[0]
    assert "shape" in spoilt(lambda now: now["scores"].pop())[0]


def test_a_nan_is_a_difference() -> None:
    stored = golden.trajectory(ForwardForward())
    now = copy.deepcopy(stored)
    now["losses"][0][0] = float("nan")
    assert golden.differences(stored, now)
