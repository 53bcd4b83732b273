"""`Ruleset`: the frozen rules, and the operations on them."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from pydantic import ValidationError, model_validator

from bpfree.errors import RulesetError
from bpfree.rulesets.digest import digest
from bpfree.rulesets.schema import SCHEMA_VERSION, Rules, replace
from bpfree.rulesets.search import Sampler
from bpfree.rulesets.stopping import Patience, PhaseLike, StopRule
from bpfree.yaml_files import Kind

__all__ = ["ALIASES", "CHANGED", "KIND", "PASSES_FIELD", "Ruleset", "build"]

KIND = Kind("ruleset", "bpfree.rulesets", RulesetError, SCHEMA_VERSION)
"""How rulesets are read from YAML."""

CHANGED = "+changed"
"""Ends the name of a named ruleset whose rules were changed by options."""

PASSES_FIELD = "budget.max_passes"
"""The cap on passes. An exception to it for single phases is a cap of those phases alone, not of the run."""

ALIASES = {
    "studies": "search.studies",
    "trials": "search.trials",
    "passes_per_trial": "search.passes_per_trial",
    "max_passes": "budget.max_passes",
    "max_hours": "budget.max_hours",
    "metric": "stop.metric",
    "patience": "stop.patience",
    "min_delta": "stop.min_delta",
    "restore_best": "stop.restore_best",
    "seeds": "plan.seeds",
    "split_seeds": "plan.split_seeds",
    "control": "plan.control",
    "datasets": "plan.datasets",
    "nets": "plan.nets",
    "arms": "plan.arms",
    "tier": "plan.tier",
    "device": "plan.device",
    "target": "plan.target",
}
"""Short names of rules, as the command line has them (``--trials``), and the field each one sets."""


class Ruleset(Rules):
    """One ruleset for all arms of a table.

    Build it with :func:`bpfree.rulesets.load`, change it with :meth:`with_changes`; both raise a one-line
    :class:`~bpfree.errors.RulesetError`. ``digest`` and ``words`` are functions of :mod:`bpfree.rulesets`.
    """

    @model_validator(mode="after")
    def _exceptions_give_valid_rules(self) -> Ruleset:
        for exception in self.exceptions:
            _apply(self, {exception.field: exception.value}, f"exception for {', '.join(exception.arms)}")
        return self

    @property
    def stamps(self) -> tuple[str, ...]:
        """What every output must carry in capitals: NOT COMPARABLE, SCALED, EXCEPTIONS, or nothing."""
        return (
            *(() if self.comparable else ("NOT COMPARABLE",)),
            *(() if self.scale == 1.0 else ("SCALED",)),
            *(("EXCEPTIONS",) if self.exceptions else ()),
        )

    def check_use(self, use: str) -> None:
        """Check that the ruleset may be used by a command: some are only for ``bpfree reproduce``.

        Raises:
            RulesetError: it is not for this use.
        """
        if self.only_for == "reproduce" and use != "reproduce":
            raise RulesetError(
                f"ruleset {self.name} holds unequal rules and is only for `bpfree reproduce`, not for `bpfree {use}`; use "
                "--ruleset uniform"
            )

    def passes(self, dataset: str | None = None) -> int:
        """Cap on the passes of a run, or of each phase where ``budget.per`` is ``"phase"``."""
        return self.budget.passes_for(dataset)

    def trial_passes(self, dataset: str | None = None) -> int:
        """Cap on the passes of one trial of the search, never more than :meth:`passes`."""
        cap = self.passes(dataset)
        return cap if self.search.passes_per_trial is None else min(self.search.passes_per_trial, cap)

    def trial_examples(self, n_available: int, n_classes: int) -> int:
        """How many of a run's ``n_available`` training examples a trial has; scaled, at least one a class and one batch."""
        limit = self.search.train_examples
        if limit is not None and self.scale < 1.0:
            limit = max(n_classes, self.batch_size, round(limit * self.scale))
        return n_available if limit is None else min(limit, n_available)

    def for_arm(self, arm: str, dataset: str | None = None, net: str | None = None, phase: str | None = None) -> Ruleset:
        """The rules that hold for one arm, its exceptions applied; the object itself where there are none.

        The digest that goes into a record is that of the whole ruleset, never of this.
        """
        changes: dict[str, Any] = {e.field: e.value for e in self.exceptions if e.applies(arm, dataset, net, phase)}
        if not changes:
            return self
        if "budget.max_passes" in changes:
            changes["budget.passes_by_dataset"] = {}
        return _apply(self, changes, f"exceptions for {arm}")

    def stop_rule(self, arm: str, dataset: str | None, net: str | None, *, trial: bool = False) -> StopRule:
        """The stop rule of an arm; a function of the phase where an exception is for single phases of it.

        Args:
            arm: label of the arm.
            dataset, net: what it is trained on; exceptions may be narrowed to them.
            trial: for a trial of the search instead of a run.
        """
        if not any(e.applies(arm, dataset, net, name) for e in self.exceptions for name in e.phases):
            return self.patience(arm, dataset, net, trial=trial)
        by_name: dict[str, Patience] = {}

        def in_phase(phase: PhaseLike) -> Patience:
            if phase.name not in by_name:
                by_name[phase.name] = self.patience(arm, dataset, net, phase.name, trial=trial)
            return by_name[phase.name]

        return in_phase

    def patience(
        self, arm: str, dataset: str | None, net: str | None, phase: str | None = None, *, trial: bool = False
    ) -> Patience:
        """The stop rule of an arm in a phase, by its name; without a name, in every phase that no exception is for."""
        usual = self.for_arm(arm, dataset, net)._patience(dataset, trial)
        if phase is None:
            return usual
        stop = self.for_arm(arm, dataset, net, phase)._patience(dataset, trial)
        own_cap = any(e.phases and e.field == PASSES_FIELD and e.applies(arm, dataset, net, phase) for e in self.exceptions)
        if own_cap and not stop.per_phase:
            return dataclasses.replace(stop, max_passes=usual.max_passes, own_cap=stop.max_passes)
        return stop

    def _patience(self, dataset: str | None, trial: bool) -> Patience:
        """These rules, exceptions aside, as a stop rule."""
        return Patience(
            patience=self.stop.patience,
            max_passes=self.trial_passes(dataset) if trial else self.passes(dataset),
            min_delta=self.stop.min_delta,
            metric=self.stop.metric,
            restore_best=self.stop.restore_best,
            per_phase=self.budget.per == "phase",
            max_hours=self.budget.max_hours,
        )

    def with_changes(self, changes: Mapping[str, Any] | None = None, /, **more: Any) -> Ruleset:
        """The same with fields set: dotted (``{"search.trials": 4}``) or short (``trials=4``, see ALIASES).

        A changed rule changes the digest, and ``+changed`` is put behind the name, once; a changed plan does neither.
        ``max_passes`` alone also replaces the table per data set, and lowers ``passes_per_trial`` where that is more.

        Raises:
            RulesetError: a key is unknown (the nearest is offered) or a value cannot be used.
        """
        wanted = {ALIASES.get(key, key): value for key, value in {**(changes or {}), **more}.items()}
        cap = wanted.get("budget.max_passes")
        if cap is not None:
            wanted.setdefault("budget.passes_by_dataset", {})
            passes = self.search.passes_per_trial
            if isinstance(cap, int) and passes is not None and cap >= 1:
                wanted.setdefault("search.passes_per_trial", min(cap, passes))
        changed = _apply(self, wanted, self.name, plain=False)
        if digest(changed) == digest(self) or "name" in wanted or self.name.endswith(CHANGED):
            return changed
        return changed.model_copy(update={"name": self.name + CHANGED})

    def scaled(self, scale: float) -> Ruleset:
        """A smaller copy for a rehearsal: training examples, trials and passes times ``scale``, each at least 1; stamped SCALED.

        Args:
            scale: above 0, at most 1.
        """
        if not 0 < scale <= 1:
            raise RulesetError(f"scale must lie above 0 and at most at 1, got {scale}")
        if scale == 1:
            return self

        def times(count: int) -> int:
            return max(1, round(count * scale))

        passes = self.search.passes_per_trial
        table = {name: times(count) for name, count in self.budget.passes_by_dataset.items()}
        exceptions = tuple(
            e.model_copy(update={"value": times(int(e.value))}) if e.field in _COUNTS and e.value is not None else e
            for e in self.exceptions
        )
        return self.with_changes(
            {
                "scale": self.scale * scale,
                "search.trials": times(self.search.trials) if self.search.trials else 0,
                "search.passes_per_trial": None if passes is None else times(passes),
                "budget.max_passes": times(self.budget.max_passes),
                "budget.passes_by_dataset": table,
                "exceptions": [e.model_dump() for e in exceptions],
            }
        )


_COUNTS = frozenset({"search.trials", "search.passes_per_trial", "budget.max_passes"})


def _apply(ruleset: Ruleset, changes: Mapping[str, Any], source: str, *, plain: bool = True) -> Ruleset:
    """Rebuild with changes; ``plain`` drops the exceptions, which have then been applied."""
    fields = ruleset.model_dump()
    if plain:
        fields["exceptions"] = ()
    try:
        replace(fields, changes)
    except KeyError as error:
        (key,) = error.args
        raise RulesetError(_unknown_key(key, source, ALIASES)) from None
    if plain:  # an arm with a lower cap has shorter trials
        counts = [fields["budget"]["max_passes"], *fields["budget"]["passes_by_dataset"].values()]
        valid = [count for count in counts if isinstance(count, int) and count >= 1]
        if valid and isinstance(fields["search"]["passes_per_trial"], int):
            fields["search"]["passes_per_trial"] = min(fields["search"]["passes_per_trial"], max(valid))
    return build(fields, source)


def build(fields: Mapping[str, Any], source: str) -> Ruleset:
    """Make a ruleset of plain values.

    Args:
        fields: as read from YAML.
        source: file or name, for the message.

    Raises:
        RulesetError: one line that names the field, what was got, and the cure.
    """
    KIND.check_version(fields, source)
    fields = _of_version_1(fields) if fields.get("schema_version", SCHEMA_VERSION) == 1 else dict(fields)
    try:
        return Ruleset.model_validate(fields)
    except ValidationError as error:
        raise RulesetError(_one_line(error, source)) from error


def _of_version_1(fields: Mapping[str, Any]) -> dict[str, Any]:
    """With what version 1 meant by leaving it out: TPE, and no search spaces."""
    search = fields.get("search")
    if not isinstance(search, Mapping):
        return dict(fields)
    return {**fields, "search": {"sampler": Sampler(), "spaces": None, **search}}


_TAGS = ("tpe", "qmc", "random", "grid")
"""With which pydantic names the kind of sampler in the place of an error."""


_WHOLE = "a ruleset file inherits nothing: copy the ruleset.yaml of a run directory and change that"
"""The cure where several rules are missing."""


def _one_line(error: ValidationError, source: str) -> str:
    # report the misspelt key first: it is also a missing one
    problems = sorted(error.errors(), key=lambda problem: problem["type"] != "extra_forbidden")
    first, more = problems[0], len(problems) - 1
    where = ".".join(str(part) for part in first["loc"] if not str(part).startswith(("dict[", "literal[")) and part not in _TAGS)
    rest = f" (and {more} more)" if more else ""
    missing = [".".join(map(str, problem["loc"])) for problem in problems if problem["type"] == "missing"]
    if first["type"] == "extra_forbidden":
        whole = f"; {_WHOLE}" if len(missing) > 1 else ""  # one is what the misspelt key was to be
        return _unknown_key(where, source) + rest + whole
    if first["type"] == "missing":
        rest = f" (and {more + 1 - len(missing)} more)" if more + 1 > len(missing) else ""
        verb = "is" if len(missing) == 1 else "are"
        return f"ruleset {source}: {', '.join(missing)} {verb} missing{rest}; {_WHOLE}"
    if first["type"] == "union_tag_invalid":
        context = first.get("ctx", {})
        kinds = context["expected_tags"].replace("'", "")
        return f"ruleset {source}: {where}.name must be one of {kinds}, got {context['tag']!r}{rest}"
    text = first["msg"].removeprefix("Value error, ").removeprefix("ruleset ")
    if first["type"] != "value_error":
        text = text.removeprefix("Input ").replace("should", "must")
    if text.startswith(f"{where}."):  # a check of several fields names them in full
        where = ""
    got = "" if isinstance(first["input"], Mapping | Rules) else f", got {first['input']!r}"
    return f"ruleset {source}: {where + ' ' if where else ''}{text}{got}{rest}"


def _unknown_key(key: str, source: str, short: Iterable[str] = ()) -> str:
    known = [*_keys(), *short]
    near = difflib.get_close_matches(key, known, cutoff=0.5)
    if not near:  # the right word in the wrong place: compare the last parts
        last = {name.rpartition(".")[2]: name for name in known}
        near = [last[word] for word in difflib.get_close_matches(key.rpartition(".")[2], last, cutoff=0.6)]
    cure = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(Ruleset.model_fields)}"
    return f"ruleset {source}: unknown key {key!r}; {cure}"


def _keys(model: Any = None, prefix: str = "") -> Iterator[str]:
    for name, field in (model or Ruleset).model_fields.items():
        yield prefix + name
        inner = field.annotation
        if hasattr(inner, "model_fields"):
            yield from _keys(inner, f"{prefix}{name}.")
