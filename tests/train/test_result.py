"""What fit returns is usable: it predicts from raw examples as the rule does, is saved and shown, and refuses in one line."""

from __future__ import annotations

import dataclasses
import io
import pickle
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from bpfree.algorithms import Backprop, MonoForward, make, names
from bpfree.data import Dataset, from_arrays
from bpfree.errors import DataError, UsageError
from bpfree.meter import Reading
from bpfree.models import load
from bpfree.nets import ConvBlock, build, mlp
from bpfree.nets.chain import Chain
from bpfree.rulesets import Split
from bpfree.testing.bench import blobs
from bpfree.train import FitResult, Patience, Progress, default_stop, fit, training

NOT_BY_THE_OUTPUT = {"cascaded-forward", "forward-forward", "spatial-goodness"}
"""Rules whose scores, by default, are those of heads or of a goodness."""

N = 90


def raw() -> tuple[np.ndarray, np.ndarray]:
    """Three blobs far from zero and of unlike scales, so that what is not normalised is not recognised."""
    random = np.random.default_rng(0)
    y = np.arange(N) % 3
    x = random.normal(size=(N, 6)) + 3 * np.eye(3, 6)[y]
    return 50.0 + x * np.array([1, 10, 100, 1, 1, 1]), y


def pixels() -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    y = np.arange(N) % 3
    return (random.integers(0, 60, (N, 4, 5)) + 80 * (np.eye(4)[y][:, :, None])).astype(np.uint8), y


@pytest.fixture(scope="module")
def table() -> Dataset:
    return from_arrays(*raw(), split=Split(kind="stratified", validation=0.2, test=0.2))


def fitted(rule: str | Any, data: Dataset, passes: int = 2, **options: Any) -> FitResult:
    algorithm = make(rule) if isinstance(rule, str) else rule
    net = mlp(data.in_shape, (8, 6), data.n_classes)
    return fit(algorithm, net, data, Patience(None, max(passes, len(algorithm.phases(net)))), batch_size=16, **options)


@pytest.fixture(scope="module")
def results(table: Dataset) -> dict[str, FitResult]:
    """Every rule, for two passes."""
    return {rule: fitted(rule, table) for rule in names()}


@pytest.mark.parametrize("rule", names())
def test_predict_of_raw_examples_has_the_accuracy_that_was_reported(rule: str, results: dict[str, FitResult]) -> None:
    """The validation examples, as the user had them, and in every kind of array."""
    result = results[rule]
    x, y = raw()
    data = result.data
    stored = data.splits["validation"].x
    standardised = (x - data.prepared.shift.numpy()) * data.prepared.factor.numpy()
    rows = [int(np.abs(standardised - row.numpy()).sum(1).argmin()) for row in stored]
    classes = result.predict(x[rows])
    assert isinstance(classes, np.ndarray)
    assert float((classes == y[rows]).mean()) == pytest.approx(result.val_accuracy)
    of_tensor = result.predict(torch.from_numpy(x[rows]))
    assert isinstance(of_tensor, torch.Tensor)
    assert of_tensor.tolist() == result.predict(x[rows].tolist()).tolist() == classes.tolist()
    assert result.scores(x[rows]).argmax(1).tolist() == classes.tolist()
    probabilities = result.predict_proba(x[rows])
    assert probabilities.shape == (len(rows), 3)
    np.testing.assert_allclose(probabilities.sum(1), 1.0)


@pytest.mark.parametrize("rule", names())
def test_the_net_answers_as_the_rule_or_refuses(rule: str, results: dict[str, FitResult]) -> None:
    result = results[rule]
    x = next(result.data.batches("validation", 16, shuffle=False)).x
    if rule in NOT_BY_THE_OUTPUT:
        with pytest.raises(UsageError, match=re.escape(f"{rule} does not predict by the output of the net")) as caught:
            result.net(x)
        assert "predict(x)" in str(caught.value)
    else:
        expected = result.algorithm.scores(result.net, result.state, x, result.model.phase)
        torch.testing.assert_close(result.net(x), expected)
        assert not result.net.training


def test_a_sum_over_heads_is_not_the_output(table: Dataset) -> None:
    with pytest.raises(UsageError, match="mono-forward does not predict by the output"):
        fitted(MonoForward(readout="sum"), table).net(torch.zeros(1, 6))


def test_another_rule_frees_a_net_that_refused(table: Dataset) -> None:
    refusing = fitted("forward-forward", table).net
    assert fit(Backprop(), refusing, table, Patience(None, 1)).net(torch.zeros(2, 6)).shape == (2, 3)


def test_pixels_are_normalised_as_in_training() -> None:
    x, y = pixels()
    result = fitted("backprop", from_arrays(x, y), passes=20)
    assert float((result.predict(x) == y).mean()) > 0.9
    assert result.predict(x[:, None]).tolist() == result.predict(x).tolist()
    for wrong, words in (
        (x.astype(np.float32), "trained on whole pixel values, got float32; give uint8 values of the same scale"),
        (x[0], "x has shape (4, 5), which is one example; give x[None], a batch of one"),
        (x.reshape(N, -1), "examples of shape (1, 4, 5) are needed, got (20,); give x.reshape(-1, 1, 4, 5)"),
        (x[:, :3], "takes examples of shape (1, 4, 5), got (1, 3, 5)"),
        (x[:0], "x is empty, of shape (0, 4, 5); give at least one example"),
    ):
        with pytest.raises(DataError, match=re.escape(words)):
            result.predict(wrong)


@pytest.mark.parametrize(
    ("x", "words"),
    [
        (np.zeros((2, 5)), "takes examples of shape (6,), got (5,)"),
        (np.zeros(6), "which is one example; give x[None]"),
        (np.full((2, 6), np.nan), "x has 12 values that are NaN or infinite, the first in example 0"),
        ([["a"] * 6], "x must hold numbers"),
        ("digits", "not an array; give a numpy array"),
    ],
)
def test_examples_that_cannot_be_read_are_one_line(x: Any, words: str, results: dict[str, FitResult]) -> None:
    with pytest.raises(DataError, match=re.escape(words)) as caught:
        results["backprop"].predict(x)
    assert "\n" not in str(caught.value)


def test_evaluate_reads_any_split(results: dict[str, FitResult]) -> None:
    result = results["mono-forward"]
    assert result.evaluate().accuracy == result.val_accuracy
    test = result.evaluate("test")
    assert test.correct.shape == (result.data.n("test"),)
    assert test.loss is not None and test.loss > 0
    with pytest.raises(UsageError, match="unknown split 'tset'; did you mean test"):
        result.evaluate("tset")
    with pytest.raises(UsageError, match="data must be a bpfree Dataset, got a ndarray"):
        result.evaluate("test", np.zeros((2, 6)))  # pyright: ignore[reportArgumentType]
    with pytest.raises(DataError, match=r"blobs has examples of shape \(16,\), the net takes \(6,\); give such ones"):
        result.evaluate("validation", blobs(60))


@pytest.mark.parametrize("rule", ["mono-forward", "forward-forward"])
def test_a_saved_result_predicts_the_same(rule: str, results: dict[str, FitResult], tmp_path: Path) -> None:
    path = results[rule].save(tmp_path / "model.safetensors")
    model = load(path)
    x, _ = raw()
    assert model.predict(x).tolist() == results[rule].predict(x).tolist()
    assert model.header is not None
    assert (model.header.net, model.header.val_accuracy, model.header.seed) == ("mlp:8-6", results[rule].val_accuracy, 0)
    if rule in NOT_BY_THE_OUTPUT:
        with pytest.raises(UsageError, match="does not predict by the output"):
            model.net(torch.zeros(1, 6))
    with pytest.raises(UsageError, match="got the directory"):
        results[rule].save(tmp_path)


def test_nets_say_what_builds_them() -> None:
    for net in (mlp((2, 3, 4), (5, 6), 3, "tanh"), build("lenet5", (1, 28, 28), 4)):
        assert net.spec is not None
        again = build(net.spec, net.in_shape, net.n_classes)
        assert (repr(again), again.spec) == (repr(net), net.spec)
    assert Chain([ConvBlock((1, 4, 4), 2, 3)], 3).spec is None


def test_a_result_can_be_pickled(results: dict[str, FitResult]) -> None:
    again = pickle.loads(pickle.dumps(results["forward-forward"]))
    x, _ = raw()
    assert again.predict(x).tolist() == results["forward-forward"].predict(x).tolist()


def test_the_history_is_a_table(results: dict[str, FitResult]) -> None:
    result = results["backprop"]
    frame = result.to_frame()
    assert list(frame.index) == [1, 2]
    assert frame["val_accuracy"].max() == result.val_accuracy


def test_without_pandas_the_cure_is_said(results: dict[str, FitResult], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(UsageError, match="pip install pandas"):
        results["backprop"].to_frame()


def test_the_chart_has_every_pass_and_the_best(results: dict[str, FitResult]) -> None:
    result = results["backprop"]
    spec = result.plot().to_dict()
    lines, _, best = (layer["data"]["values"] for layer in spec["layer"])
    assert [row["accuracy"] for row in lines] == [entry.val_accuracy for entry in result.history]
    assert [row["accuracy"] for row in best] == [result.val_accuracy]
    assert spec["title"] == "backprop"


def test_a_notebook_shows_a_short_table(results: dict[str, FitResult]) -> None:
    text = results["mono-forward"]._repr_html_()
    assert "MonoForward(lr=0.00047" in text
    assert f"{100 * (results['mono-forward'].val_accuracy or 0):.2f} %" in text
    assert text.count("<polyline") == 1
    diverged = fitted(Backprop(lr=1e30, optimiser="sgd"), results["backprop"].data)
    assert diverged.status == "diverged"
    assert "none was finite" in diverged._repr_html_()
    assert diverged.plot().to_dict()["layer"][0]["data"]["values"] == []


@pytest.mark.parametrize(
    ("time_s", "joules", "words"),
    [(9.0, 3.5, "3.5 J"), (2.0, 3.5, "3.5 J in the 2 s since it was resumed"), (9.0, None, "not metered")],
)
def test_energy_of_the_last_sitting_is_not_shown_as_that_of_all(
    results: dict[str, FitResult], time_s: float, joules: float | None, words: str
) -> None:
    result = results["backprop"]
    ended = result.history[-1].model_copy(update={"time_s": 5.0})
    reading = Reading(time_s, joules, None, "rapl", "package", measured=True, resolved=True)
    shown = dataclasses.replace(result, reading=reading, history=(*result.history[:-1], ended))._repr_html_()
    assert re.search(r"energy</t[hd]><td>([^<]*)<", shown).group(1) == words  # type: ignore[union-attr]


def test_a_callback_sees_every_pass_and_ends_training_at_the_best_state() -> None:
    data = blobs(120).without_test()
    seen: list[tuple[int, float]] = []

    def third(progress: Progress) -> bool:
        seen.append((progress.passes, progress.val_accuracy))
        return progress.passes == 3

    result = fitted(MonoForward(lr=0.02), data, passes=9, callbacks=[third, lambda progress: None])
    assert [passes for passes, _ in seen] == [1, 2, 3] == [entry.passes for entry in result.history]
    assert result.val_accuracy == max(accuracy for _, accuracy in seen)
    assert result.evaluate().accuracy == result.val_accuracy


def test_callbacks_and_the_generator_change_nothing() -> None:
    """Neither one that logs and draws random numbers, nor a loop of the user's own."""
    data = blobs(120).without_test()
    plain = fitted(MonoForward(lr=0.02), data, passes=3)
    logged = fitted(MonoForward(lr=0.02), data, passes=3, callbacks=[lambda progress: print(progress.passes, torch.rand(2))])
    net = mlp(data.in_shape, (8, 6), data.n_classes)
    *_, last = training(MonoForward(lr=0.02), net, data, Patience(None, 3), batch_size=16)
    for one, other, third in zip(plain.net.parameters(), logged.net.parameters(), last.net.parameters(), strict=True):
        assert torch.equal(one, other) and torch.equal(one, third)
    assert [entry.val_accuracy for entry in plain.history] == [entry.val_accuracy for entry in logged.history]


def test_a_loop_that_ends_by_send_is_left_at_the_best_state(script: Any) -> None:
    data = blobs(120).without_test()
    script(0.9, 0.5, 0.4)
    net = mlp(data.in_shape, (4,), data.n_classes)
    run = training(Backprop(lr=0.1), net, data, Patience(None, 5))
    next(run)
    best = net.output.weight.clone()
    next(run)
    assert not torch.equal(net.output.weight, best)
    with pytest.raises(StopIteration):
        run.send(True)
    assert torch.equal(net.output.weight, best)


@pytest.mark.parametrize(
    ("callbacks", "words"),
    [
        (print, "callbacks must be a list of functions, got a builtin_function_or_method; use callbacks=[...] around it"),
        ([3], "got 3; each takes the Progress of a pass, and returns True to stop"),
        (7, "got 7; each takes"),
    ],
)
def test_what_is_no_list_of_callbacks_is_refused(callbacks: Any, words: str, table: Dataset) -> None:
    with pytest.raises(UsageError, match=re.escape(words)):
        fitted("backprop", table, callbacks=callbacks)


def test_the_default_stop_rule_gives_small_sets_more_passes() -> None:
    assert default_stop(60_000, 64) == Patience(10, 100)
    assert default_stop(1_077, 64) == Patience(10, 100)
    assert default_stop(105, 64) == Patience(30, 300)
    assert default_stop(20, 64) == Patience(60, 600)


def test_fit_needs_no_stop_rule(table: Dataset) -> None:
    result = fit(Backprop(), mlp(table.in_shape, (4,), 3), table, callbacks=[lambda progress: progress.passes == 2])
    assert result.passes == 2


def test_a_stop_rule_by_phase_is_taken(table: Dataset) -> None:
    assert fit(Backprop(), mlp(table.in_shape, (4,), 3), table, lambda phase: Patience(None, 2)).passes == 2


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("stream", "progress", "shown"),
    [(_Terminal, None, True), (_Terminal, False, False), (io.StringIO, None, False), (io.StringIO, True, True)],
)
def test_the_bar_is_for_terminals(
    stream: type[io.StringIO], progress: bool | None, shown: bool, table: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    errors = stream()
    monkeypatch.setattr(sys, "stderr", errors)
    monkeypatch.setenv("TERM", "xterm")
    fitted("backprop", table, progress=progress)
    assert bool(errors.getvalue()) == shown
    if stream is _Terminal and shown:
        assert "backprop" in errors.getvalue() and "val. " in errors.getvalue()


def test_a_metered_run_has_no_bar_unless_it_is_asked_for(table: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    from bpfree.meter import Meter

    errors = _Terminal()
    monkeypatch.setattr(sys, "stderr", errors)
    result = fitted("backprop", table, meter=Meter("cpu", []))
    assert result.reading is not None
    assert errors.getvalue() == ""
