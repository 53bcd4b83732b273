"""The model card: facts of the header, beside every model that is saved."""

from __future__ import annotations

from pathlib import Path

import pytest
from small_models import SPEC, trained

from bpfree import data
from bpfree.models import card_path, load, save


def keep(path: Path, **options: object) -> Path:
    model = trained("mono-forward", "mlp:9-7", (1, 8, 8))
    save(path, model.algorithm, model.net, model.state, **options)  # pyright: ignore[reportArgumentType]
    return path


def test_a_card_has_the_facts_of_the_model(tmp_path: Path) -> None:
    digits = data.load("digits")
    facts = {"val_accuracy": 0.975, "test_accuracy": 0.95, "ruleset_digest": "abc123", "seed": 7}
    keep(tmp_path / "model.safetensors", data=digits, **facts)
    text = (tmp_path / "model.md").read_text()
    n_validation, n_test = digits.n("validation"), digits.n("test")
    for words in (
        "# mono-forward on digits",
        f"| net | {SPEC} |",
        "| input | whole pixel values (uint8) (n, 1, 8, 8) |",
        "| classes | 0 to 3 |",
        f"| split digest | {digits.split_digest} |",
        f"| data digest | {digits.data_digest} |",
        f"| validation accuracy | 97.50 % of {n_validation} examples",
        f"| test accuracy | 95.00 % of {n_test} examples",
        "| ruleset digest | abc123 |",
        "| seed | 7 |",
        "| normalisation | (x - shift) * factor",
        'bpfree.models.load("model.safetensors")',
        "bpfree predict model.safetensors --data new.npz",
    ):
        assert words in text


def test_what_is_not_known_is_said_and_not_made_up(tmp_path: Path) -> None:
    keep(tmp_path / "a.safetensors")
    text = (tmp_path / "a.md").read_text()
    for words in ("| test accuracy | not measured |", "| validation accuracy | not said |", "trained under no ruleset"):
        assert words in text


def test_the_example_of_a_card_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    digits = data.load("digits")
    keep(tmp_path / "model.safetensors", data=digits)
    monkeypatch.chdir(tmp_path)
    code = (tmp_path / "model.md").read_text().partition("```python\n")[2].partition("```")[0]
    names = {"x": digits.splits["validation"].x[:5]}
    exec(code, names)
    assert names["probabilities"].shape == (5, 4) and len(names["classes"]) == 5


def test_a_file_that_is_no_card_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("# Mine\n")
    with pytest.warns(UserWarning, match=r"README.md is no model card, so it is left alone, and README.safetensors has none"):
        keep(tmp_path / "README.safetensors")
    assert (tmp_path / "README.md").read_text() == "# Mine\n"
    assert load(tmp_path / "README.safetensors").algorithm.name == "mono-forward"


def test_a_card_is_replaced_with_its_model(tmp_path: Path) -> None:
    keep(tmp_path / "a.safetensors", seed=1)
    path = keep(tmp_path / "a.safetensors", seed=2)
    assert "| seed | 2 |" in card_path(path).read_text()
    assert sorted(each.name for each in tmp_path.iterdir()) == ["a.md", "a.safetensors"]
