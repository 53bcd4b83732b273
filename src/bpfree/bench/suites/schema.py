"""What a suite is: sections (tables of a paper) of rows (an arm on a data set with a net), and the rulesets they run under."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from bpfree import rulesets
from bpfree.bench.arm import Arm
from bpfree.published import Number, find, source
from bpfree.rulesets import Ruleset

__all__ = ["SCHEMA_VERSION", "Inline", "Row", "RulesetUse", "Section", "Suite"]

SCHEMA_VERSION = 1

Word = Annotated[str, Field(min_length=1)]
Percent = Annotated[float, Field(ge=0, le=100, allow_inf_nan=False)]


class _SuitePart(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Inline(_SuitePart):
    """A published number written in the suite's file, with its source."""

    test_accuracy_percent: Percent
    sd_percent: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    runs: Annotated[int, Field(ge=1)] | None = None
    source: Word
    second_hand: bool = False


class RulesetUse(_SuitePart):
    """A named ruleset, and what is changed in it for this suite.

    ``changes`` are dotted rules (``{"augmentation": "none"}``); they change the digest. ``why`` says why, and is needed.
    """

    base: Word
    changes: dict[str, Any] = Field(default_factory=dict)
    why: str = ""

    @model_validator(mode="after")
    def _a_change_has_a_reason(self) -> RulesetUse:
        if self.changes and not self.why:
            raise ValueError("changes to a ruleset need a reason: why")
        return self

    def load(self) -> Ruleset:
        """The ruleset with its changes.

        Raises:
            RulesetError, UnknownNameError: it is not there, or a change cannot be made.
        """
        rules = rulesets.load(self.base)
        rules.check_use("reproduce")
        return rules.with_changes(self.changes) if self.changes else rules


class Row(_SuitePart):
    """One arm on one data set with one net, and the published number that it is compared with.

    ``variant`` (and the arm's rule) finds the number in the section's table; ``published`` names another table, or holds the
    number itself. ``not_run`` says why bpfree cannot run it: the row is listed with that reason. ``rehearsal`` holds options that
    a scaled run adds to the arm: they make it cheaper without changing what is learned.
    """

    dataset: Word
    net: Word
    arm: Word
    variant: str = ""
    published: str | Inline | None = None
    note: str = ""
    not_run: str = ""
    rehearsal: str = ""

    @model_validator(mode="after")
    def _the_rehearsal_can_be_read(self) -> Row:
        Arm.parse(self.for_rehearsal().arm)
        return self

    def for_rehearsal(self) -> Row:
        """The row as a scaled run has it."""
        return self.model_copy(update={"arm": f"{self.arm}:{self.rehearsal}", "rehearsal": ""}) if self.rehearsal else self

    @field_validator("arm")
    @classmethod
    def _can_be_read(cls, arm: str) -> str:
        Arm.parse(arm)
        return arm

    @property
    def algorithm(self) -> str:
        """The rule's name."""
        return self.arm.partition(":")[0]

    @property
    def run_key(self) -> tuple[str, str, str]:
        """What is run, under the section's ruleset."""
        return (self.dataset, self.net, self.arm)


class Section(_SuitePart):
    """One table of the paper, under one ruleset.

    ``unpublished`` says why there is no number to compare with: the rows are a plan, and what is measured stands alone.
    """

    title: Word
    ruleset: Word
    published: str = ""
    protocol: str = ""
    note: str = ""
    unpublished: str = ""
    rows: tuple[Row, ...] = Field(min_length=1)

    def number(self, row: Row) -> Number:
        """The published number of one of its rows.

        Raises:
            UsageError, UnknownNameError: there is none, or no such table.
        """
        if isinstance(row.published, Inline):
            return _inline(row, row.published)
        if self.unpublished:
            return _none(row, self.unpublished)
        table = row.published or self.published
        return find(table, row.dataset, row.net, row.algorithm, row.variant, self.protocol)

    @model_validator(mode="after")
    def _every_row_has_its_number_once(self) -> Section:
        if self.published:
            source(self.published)
        seen: set[tuple[str, str, str]] = set()
        for row in self.rows:
            if row.published is None and not self.published and not self.unpublished:
                raise ValueError(f"{' '.join(row.run_key)} has no published number; name a table with published, or write one")
            if row.run_key in seen:
                raise ValueError(f"{' '.join(row.run_key)} is listed twice in {self.title!r}")
            seen.add(row.run_key)
            self.number(row)
        return self


class Suite(_SuitePart):
    """A paper's tables, ready to be run."""

    schema_version: Literal[1] = SCHEMA_VERSION
    name: Word
    title: Word
    paper: Word
    description: str = ""
    rulesets: dict[str, RulesetUse] = Field(min_length=1)
    sections: tuple[Section, ...] = Field(min_length=1)

    @field_validator("rulesets")
    @classmethod
    def _keys_are_names_of_directories(cls, uses: Mapping[str, RulesetUse]) -> Mapping[str, RulesetUse]:
        for key in uses:
            if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9-]*", key) or key == "report":
                raise ValueError(f"a ruleset's key names a directory: letters, digits and hyphens, not {key!r}")
        return uses

    @model_validator(mode="after")
    def _sections_name_rulesets(self) -> Suite:
        for section in self.sections:
            if section.ruleset not in self.rulesets:
                raise ValueError(f"section {section.title!r} wants ruleset {section.ruleset!r}; here: {', '.join(self.rulesets)}")
        return self

    @property
    def datasets(self) -> tuple[str, ...]:
        """Data sets of all rows, in their order."""
        return tuple(dict.fromkeys(row.dataset for section in self.sections for row in section.rows))

    @property
    def arms(self) -> tuple[str, ...]:
        """Arms of all rows, in their order."""
        return tuple(dict.fromkeys(row.arm for section in self.sections for row in section.rows))


def _none(row: Row, why: str) -> Number:
    return Number(
        table="suite",
        dataset=row.dataset,
        net=row.net,
        algorithm=row.algorithm,
        second_hand=False,
        source=f"not published: {why}",
    )


def _inline(row: Row, given: Inline) -> Number:
    accuracy, runs = given.test_accuracy_percent / 100, f" of {given.runs} runs" if given.runs else ""
    half = None if given.sd_percent is None else 2 * given.sd_percent / 100
    return Number(
        table="suite",
        dataset=row.dataset,
        net=row.net,
        algorithm=row.algorithm,
        variant=row.variant,
        accuracy=accuracy,
        spread=None if half is None else (accuracy - half, accuracy + half),
        spread_words="no spread published" if half is None else f"mean ± 2 SD{runs}",
        n_runs=str(given.runs or ""),
        second_hand=given.second_hand,
        source=given.source,
    )
