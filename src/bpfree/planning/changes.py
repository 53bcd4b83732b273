"""What to change so that a training fits its budget: every answer is predicted as the training itself was, and fits."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass

from bpfree.algorithms import registry
from bpfree.bench import Arm
from bpfree.errors import UsageError
from bpfree.planning.budgets import Budget
from bpfree.planning.narrower import narrower
from bpfree.planning.prediction import Prediction, Predictor
from bpfree.units import format_bytes, format_energy, format_time

__all__ = ["Change", "changes"]


@dataclass(frozen=True)
class Change:
    """A training that fits in the place of one that does not.

    Attributes:
        kind: what is changed: ``batch size``, ``setting``, ``net``, ``passes``, or several of them joined by ``and``.
        options: as they would be written on the command line.
        prediction: of the changed training.
    """

    kind: str
    options: str
    prediction: Prediction

    def __str__(self) -> str:
        p = self.prediction
        amounts = [format_bytes(p.peak_bytes), format_time(p.run_s), format_energy(p.joules) if p.joules is not None else ""]
        return f"{self.options}: {', '.join(filter(None, amounts))}"


def changes(forecasts: Predictor, budget: Budget, prediction: Prediction) -> tuple[Change, ...]:
    """One change of each kind that lets the training fit; changes of two kinds at once only where no single one does.

    A smaller batch is the largest of half, a quarter, ... that fits; a setting the first that fits of the rule's
    ``savings``; a net the widest of half, a quarter, ... of the widths; fewer passes are the most that fit.
    """
    one = tuple(_distinct(_single(forecasts, budget, prediction)))
    return one or tuple(_distinct(_double(forecasts, budget, prediction)))[:1]


def _single(forecasts: Predictor, budget: Budget, start: Prediction) -> Iterator[Change]:
    for candidate in (_fewer_passes(forecasts, budget, start), *_memory_changes(forecasts, budget, start)):
        if candidate is not None and (fitting := _with_fewer_passes(forecasts, budget, candidate)) is not None:
            yield _change(start, fitting)


def _double(forecasts: Predictor, budget: Budget, start: Prediction) -> Iterator[Change]:
    """A setting or a narrower net, each with a smaller batch; of the nets the widest for which a batch fits."""
    for arm in _settings(Arm.parse(start.arm)):
        yield from _with_batch(forecasts, budget, start, arm, start.net)
    for spec in narrower(start.net, forecasts.net):
        fitting = list(_with_batch(forecasts, budget, start, Arm.parse(start.arm), spec))
        yield from fitting
        if fitting:
            return


def _with_batch(forecasts: Predictor, budget: Budget, start: Prediction, arm: Arm, spec: str) -> Iterator[Change]:
    changed = _predicted(forecasts, arm, spec, start.batch_size, start.passes)
    if changed is None:
        return
    for candidate in (changed, _smaller_batch(forecasts, budget, changed)):
        if candidate is not None and (fitting := _with_fewer_passes(forecasts, budget, candidate)) is not None:
            yield _change(start, fitting)
            return


def _memory_changes(forecasts: Predictor, budget: Budget, start: Prediction) -> Iterator[Prediction | None]:
    """Changes that let the bytes fit, where they do not; then the narrower net that is quick enough, where time is short."""
    if budget.memory_bytes is not None and (start.peak_bytes or 0) > budget.memory_bytes:
        yield _smaller_batch(forecasts, budget, start)
        for arm in _settings(Arm.parse(start.arm)):
            changed = _predicted(forecasts, arm, start.net, start.batch_size, start.passes)
            if changed is not None and _bytes_fit(budget, changed):
                yield changed
                break
    for spec in narrower(start.net, forecasts.net):
        changed = _predicted(forecasts, Arm.parse(start.arm), spec, start.batch_size, start.passes)
        if changed is not None and budget.fits(changed):
            yield changed
            return


def _smaller_batch(forecasts: Predictor, budget: Budget, start: Prediction) -> Prediction | None:
    """The training with the largest of half, a quarter, ... of its batch whose bytes fit; None where none does."""
    limit, arm = budget.memory_bytes, Arm.parse(start.arm)
    if limit is None or (start.scoring_bytes or 0) > limit:  # scoring does not depend on the batch
        return None
    if (least := forecasts.step_bytes(arm, start.net, 1)) is None or least > limit:
        return None
    size = start.batch_size
    while (size := size // 2) >= 1:
        needed = forecasts.step_bytes(arm, start.net, size)
        if needed is not None and needed <= limit:
            return _predicted(forecasts, arm, start.net, size, start.passes)
    return None


def _settings(arm: Arm) -> Iterator[Arm]:
    """The arm with each setting that its rule declares, or the other arm that it names; none that the arm has fixed already."""
    for text in registry()[arm.algorithm].savings:
        other = text if text.partition(":")[0] in registry() else f"{arm.label}:{text}"
        keys = {pair.partition("=")[0] for pair in text.split(":")[1 if other == text else 0 :]}
        if not keys & set(arm.fixed):
            yield Arm.parse(other)


def _fewer_passes(forecasts: Predictor, budget: Budget, start: Prediction) -> Prediction | None:
    return start if _bytes_fit(budget, start) else None


def _with_fewer_passes(forecasts: Predictor, budget: Budget, start: Prediction) -> Prediction | None:
    """The training, with fewer passes if need be; None where not even one fits, or the bytes do not."""
    if budget.fits(start):
        return start
    if not _bytes_fit(budget, start) or start.run_s is None:
        return None
    passes = start.passes
    while passes > 1:
        share = max((value for name, value in budget.shares(forecasts.with_passes(start, passes)).items() if name != "memory"))
        passes = min(passes - 1, max(1, int(passes / share)))
        changed = forecasts.with_passes(start, passes)
        if budget.fits(changed):
            return changed
    return None


def _bytes_fit(budget: Budget, prediction: Prediction) -> bool:
    return budget.memory_bytes is None or (prediction.peak_bytes is not None and prediction.peak_bytes <= budget.memory_bytes)


def _predicted(forecasts: Predictor, arm: Arm, spec: str, batch_size: int, passes: int) -> Prediction | None:
    try:
        prediction = forecasts.predict(arm, spec, batch_size, passes)
    except UsageError:
        return None
    return None if prediction.refusal is not None else prediction


def _change(before: Prediction, after: Prediction) -> Change:
    pairs = (
        ("setting", "--arms", before.arm, after.arm),
        ("net", "--net", before.net, after.net),
        ("batch size", "--batch-size", before.batch_size, after.batch_size),
        ("passes", "--max-passes", before.passes, after.passes),
    )
    changed = [(kind, f"{option} {new}") for kind, option, old, new in pairs if old != new]
    return Change(" and ".join(kind for kind, _ in changed), " ".join(text for _, text in changed), dataclasses.replace(after))


def _distinct(changes: Iterator[Change]) -> Iterator[Change]:
    seen: set[str] = set()
    for change in changes:
        if change.options not in seen:
            seen.add(change.options)
            yield change
