"""A model that was saved and loaded gives bitwise the same scores; a file that is none says so in one line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from small_models import ARMS, IN_SHAPE, N_CLASSES, SPEC, trained

from bpfree import data, nets
from bpfree.algorithms import ForwardForward
from bpfree.errors import BpfreeError, DataError, StorageError, UsageError
from bpfree.models import Model, load, read_header, save
from bpfree.rulesets import Patience
from bpfree.testing.bench import ForeignBlock, make_batch
from bpfree.train import checkpoint, fit


def examples(n: int = 11, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return make_batch(n, index=7, in_shape=IN_SHAPE, n_classes=N_CLASSES, dtype=dtype).x


def keep(model: Model, path: Path, **options: Any) -> Path:
    save(path, model.algorithm, model.net, model.state, **{"spec": SPEC, "phase": model.phase.index, **options})
    return path


@pytest.mark.parametrize("arm", ARMS)
def test_scores_are_bitwise_those_of_the_saved_model(arm: str, tmp_path: Path) -> None:
    model = trained(arm)
    again = load(keep(model, tmp_path / "model.safetensors"))
    assert again.algorithm == model.algorithm
    assert again.phase == model.phase
    assert torch.equal(again.scores(examples()), model.scores(examples()))
    assert torch.equal(again.net.output_scores(examples()), model.net.output_scores(examples()))


@pytest.mark.parametrize("arm", ["mono-forward:schedule=staged", "cascaded-forward:blocks=dfa"])
def test_each_phase_has_its_scores(arm: str, tmp_path: Path) -> None:
    model = trained(arm)
    for phase in model.algorithm.phases(model.net):
        early = Model(model.algorithm, model.net, model.state, phase)
        again = load(keep(early, tmp_path / f"{phase.index}.safetensors"))
        assert again.phase == phase
        assert torch.equal(again.scores(examples()), early.scores(examples()))


def test_double_precision_survives(tmp_path: Path) -> None:
    model = trained("mono-forward", dtype=torch.float64)
    again = load(keep(model, tmp_path / "model.safetensors"))
    assert again.net.dtype == torch.float64
    assert torch.equal(again.scores(examples(dtype=torch.float64)), model.scores(examples(dtype=torch.float64)))


def test_running_statistics_of_a_convolutional_net_survive(tmp_path: Path) -> None:
    model = trained("backprop", spec="cnn3", in_shape=(1, 16, 16))
    x = make_batch(3, in_shape=(1, 16, 16), n_classes=N_CLASSES, dtype=torch.float32).x
    again = load(keep(model, tmp_path / "model.safetensors", spec="cnn3"))
    assert torch.equal(again.scores(x), model.scores(x))


def test_a_model_has_no_moments_no_sums_and_no_feedback(tmp_path: Path) -> None:
    for arm in ("direct-feedback-alignment", "cascaded-forward:predictor=ridge", "mono-forward"):
        names = load_file(keep(trained(arm), tmp_path / "model.safetensors"))
        assert not [name for name in names if any(word in name for word in ("first_", "second_", "gram", "feedback"))]


def test_the_header_says_where_the_model_comes_from(tmp_path: Path) -> None:
    digits = data.load("digits")
    path = keep(trained("mono-forward"), tmp_path / "model.safetensors", data=digits, val_accuracy=0.5, seed=7)
    header = read_header(path)
    assert (header.algorithm, header.net, header.in_shape, header.n_classes) == ("mono-forward", SPEC, IN_SHAPE, N_CLASSES)
    assert (header.dataset, header.split_digest, header.val_accuracy) == ("digits", digits.split_digest, 0.5)
    assert header.seed == 7
    assert read_header(keep(trained("mono-forward"), tmp_path / "other.safetensors")).seed is None
    assert {"bpfree", "torch", "python"} <= header.versions.keys()


def test_stored_pixels_become_what_the_net_takes(tmp_path: Path) -> None:
    digits = data.load("digits")
    model = trained("mono-forward", in_shape=(1, 8, 8))
    again = load(keep(model, tmp_path / "model.safetensors", data=digits))
    stored = digits.splits["validation"].x[:20]
    batch = next(digits.batches("validation", 20, shuffle=False))
    assert torch.equal(again.normalise(stored), batch.x)
    assert torch.equal(load(keep(model, tmp_path / "plain.safetensors")).normalise(stored), stored.float())
    with pytest.raises(DataError, match=r"takes examples of shape \(1, 8, 8\), got \(8, 8\)"):
        again.normalise(stored[:, 0])
    with pytest.raises(DataError, match="trained on whole pixel values, got float32; give uint8 values of the same scale"):
        again.normalise(stored.float())


@pytest.mark.parametrize("shape", [(60, 12), (60, 2, 6, 5)], ids=["table", "images"])
def test_features_are_standardised_as_the_training_split_was(tmp_path: Path, shape: tuple[int, ...]) -> None:
    """Also where the mean is far above the deviation, and where a feature never varies."""
    x = make_batch(shape[0], in_shape=shape[1:], n_classes=3, dtype=torch.float64).x * 3 + 1e9
    x[:, 0] = 7.0
    loaded = data.from_arrays(x, torch.arange(shape[0]) % 3)
    again = load(keep(trained("mono-forward", in_shape=shape[1:]), tmp_path / "model.safetensors", data=loaded))
    order = [int((again.normalise(x) - row).flatten(1).norm(dim=1).argmin()) for row in loaded.splits["train"].x]
    assert len(set(order)) == len(order)
    torch.testing.assert_close(again.normalise(x)[order], loaded.splits["train"].x, rtol=1e-6, atol=1e-6)
    assert not again.normalise(x)[:, 0].any()


def test_probabilities_are_the_softmax_of_the_scores(tmp_path: Path) -> None:
    again = load(keep(trained("mono-forward"), tmp_path / "model.safetensors"))
    probabilities = again.predict_proba(examples())
    assert torch.equal(probabilities.argmax(1), again.scores(examples()).argmax(1))
    torch.testing.assert_close(probabilities.sum(1), torch.ones(11, dtype=torch.float64))


def test_a_net_without_a_name_is_given_to_load(tmp_path: Path) -> None:
    model = trained("mono-forward")
    model.net.spec = None
    path = keep(model, tmp_path / "model.safetensors", spec=None)
    with pytest.raises(UsageError, match=r"net=\.\.\."):
        load(path)
    again = load(path, net=nets.build(SPEC, IN_SHAPE, N_CLASSES))
    assert torch.equal(again.scores(examples()), model.scores(examples()))
    with pytest.raises(DataError, match="it belongs to another"):
        load(path, net=nets.Chain([ForeignBlock(IN_SHAPE, 9), ForeignBlock((9,), 7)], N_CLASSES))


def rewritten(path: Path, **changes: Any) -> Path:
    """The same tensors under a header with changes; ``None`` takes a key out."""
    header = json.loads(read_header(path).model_dump_json()) | changes
    kept = {key: value for key, value in header.items() if value != "absent"}
    tensors = load_file(path)
    save_file(tensors, path, metadata={"bpfree-model": json.dumps(kept)})
    return path


BROKEN: list[tuple[dict[str, Any], type[BpfreeError], str]] = [
    ({"schema": 99}, DataError, "has schema 99, this bpfree reads up to 1; update"),
    ({"algorithm": "mono-forwrd"}, UsageError, "rule that is not installed here.*did you mean mono-forward"),
    ({"params": {"lr": -1.0}}, DataError, "another version of the rule: mono-forward: lr must be"),
    ({"params": {"no_such": 1}}, DataError, "another version of the rule: unknown hyper-parameter"),
    ({"net": "mlp:9-8"}, DataError, r"net.blocks.1.linear.weight has shape \(7, 9\), the net needs \(8, 9\)"),
    ({"net": "mlp:9-7-7"}, DataError, "has no tensor 'net.blocks.2.linear.bias'"),
    ({"net": "mpl:9"}, DataError, "names a net that cannot be built: unknown net 'mpl'"),
    ({"n_classes": "many"}, DataError, "damaged header .n_classes"),
    ({"n_classes": 1}, DataError, "at least 2 classes"),
    ({"dtype": "int8"}, DataError, "damaged header .dtype"),
    ({"phase": 3}, DataError, "scores of phase 3, but mono-forward has 1"),
    ({"algorithm": "absent"}, DataError, "damaged header .algorithm"),
    ({"normalised": True}, DataError, "has no tensor 'normalisation.factor'"),
]


@pytest.mark.parametrize(("changes", "kind", "words"), BROKEN, ids=[json.dumps(changes) for changes, _, _ in BROKEN])
def test_a_header_that_does_not_fit_is_refused(
    tmp_path: Path, changes: dict[str, Any], kind: type[BpfreeError], words: str
) -> None:
    path = rewritten(keep(trained("mono-forward"), tmp_path / "model.safetensors"), **changes)
    with pytest.raises(kind, match=words) as raised:
        load(path)
    assert str(path) in str(raised.value)


def test_what_is_no_model_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x"
    with pytest.raises(DataError, match="cannot be read as a model"):
        load(path)
    with pytest.raises(DataError, match=r"cannot be read as a model \(it is a directory\); give the model.safetensors"):
        load(tmp_path)
    path.write_text("hello")
    with pytest.raises(DataError, match="cannot be read as a model"):
        load(path)
    save_file({"a": torch.zeros(1)}, path)
    with pytest.raises(DataError, match="a safetensors file of something else"):
        load(path)
    model = trained("mono-forward")
    checkpoint.save(path, model.net, model.state, None, {})
    with pytest.raises(DataError, match="is a checkpoint, which training goes on from, not a model"):
        load(path)
    keep(model, path)
    with pytest.raises(DataError, match="not a checkpoint"):
        checkpoint.read_header(path)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(DataError, match="cannot be read as a model"):
        load(path)


def test_a_place_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="cannot write"):
        keep(trained("backprop"), tmp_path / "absent" / "model.safetensors")


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_scores_that_are_not_finite_are_no_prediction(bad: float) -> None:
    model = trained("backprop")
    with torch.no_grad():
        model.net.output.bias[1] = bad
    with pytest.raises(
        DataError, match="the model's scores are NaN or infinite for 11 of 11 examples, so there is no prediction"
    ) as error:
        model.predict_proba(examples())
    assert "\n" not in str(error.value)


def test_the_label_columns_of_a_table_are_in_the_file(tmp_path: Path) -> None:
    """Forward-Forward on a table: the saved model scores as the trained one, which it could not without them."""
    random = np.random.RandomState(0)
    table = data.from_arrays(random.standard_normal((60, 5)).astype(np.float32), np.arange(60) % 3)
    rule, net = ForwardForward(lr=0.01), nets.build("mlp:1x6", table.in_shape, 3)
    result = fit(rule, net, table.without_test(), Patience(None, 2), batch_size=16)
    save(tmp_path / "model.safetensors", rule, result.net, result.state, spec="mlp:1x6", data=table)
    x = next(table.batches("test", 9, shuffle=False)).x
    phase = rule.phases(net)[-1]
    expected = rule.scores(result.net, result.state, x.clone(), phase)
    assert torch.equal(load(tmp_path / "model.safetensors").normalised_scores(x), expected)
