"""``--storage``: from the options of a command to work that other processes find, and back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from bpfree.bench import Arm, Setting, parse_arms
from bpfree.bench.checked import Checked
from bpfree.bench.directory import RunDirectory
from bpfree.bench.published import Work, code
from bpfree.bench.storages import Store, open_store
from bpfree.cli.options import CarbonOptions, DataOptions, MeterOptions, RuleOptions
from bpfree.cli.resume import command_line
from bpfree.cli.session import check
from bpfree.cli.setting import Request
from bpfree.errors import DataError, UsageError
from bpfree.rulesets import Ruleset
from bpfree.rulesets.ruleset import build
from bpfree.urls import JOURNAL

__all__ = ["PlannedRequest", "check_alone", "opened", "work_in"]


def check_alone(storage: str | None, jobs: int | None) -> int | None:
    """The processes that a command starts itself: none beside it where others may join.

    Raises:
        UsageError: several were asked for.
    """
    if storage is None:
        return jobs
    if jobs is not None and jobs > 1:
        raise UsageError(
            f"--jobs {jobs} and --storage were both given; leave out --jobs and start bpfree worker as often as you like"
        )
    return 1


def opened(storage: str | None) -> Store | None:
    """A database, before anything is written; None for a journal, which comes with the run directory.

    Raises:
        StorageError: it cannot be reached, or holds something else.
    """
    return None if storage in (None, JOURNAL) else open_store(str(storage))


def work_in(
    storage: str | None,
    store: Store | None,
    directory: RunDirectory,
    request: Request,
    checked: Checked,
    use: str,
    arms: str | None,
) -> Work | None:
    """What a command shares; None where it does its work alone.

    Args:
        store: see :func:`opened`.
        arms: as they were given; None for those of the ruleset.
    """
    if storage is None:
        return None
    data = asdict(request.data)
    if request.data.data_dir is not None:
        data["data_dir"] = str(request.data.data_dir.absolute())
    asked = {
        "use": use,
        "code": code(),
        "ruleset": request.rules(use).model_dump(mode="json"),
        "arms": arms,
        "data": data,
        "data_digest": checked.setting.data.data_digest,
        "meter": asdict(request.meter),
        "carbon": asdict(request.carbon),
    }
    return Work(store or open_store(storage, directory.path), asked, command_line())


@dataclass(frozen=True)
class PlannedRequest(Request):
    """What another process has asked for.

    Attributes:
        planned: its ruleset.
        command: that asked.
    """

    planned: Ruleset | None = None
    command: str = ""

    @classmethod
    def of(cls, work: Work, data_dir: Path | None, device: str | None) -> PlannedRequest:
        """Read what was planned.

        Args:
            data_dir: where the data are on this machine; by default as planned.
            device: of this process; by default as planned.

        Raises:
            RunDirectoryError: it was planned by other code.
            RulesetError: its ruleset cannot be read.
        """
        work.check_code()
        asked: Mapping[str, Any] = work.request
        planned = Path(asked["data"]["data_dir"]) if asked["data"]["data_dir"] is not None else None
        data = replace(DataOptions(**asked["data"]), data_dir=data_dir or planned)
        meter = MeterOptions(**asked["meter"])
        return cls(
            data,
            RuleOptions(),
            replace(meter, device=device) if device is not None else meter,
            CarbonOptions(**asked["carbon"]),
            planned=_ruleset(asked["ruleset"], work),
            command=work.command,
        )

    def rules(self, use: str) -> Ruleset:
        """The ruleset as it was planned."""
        del use
        assert self.planned is not None
        return self.planned

    def setting(self, rules: Ruleset) -> Setting:
        """See :meth:`Request.setting`; records name the command that planned the work."""
        setting = super().setting(rules)
        setting.plan["command"] = self.command
        return setting

    def checked(self, work: Work) -> Checked:
        """Load what was planned.

        Raises:
            DataError: the data here have other contents.
            BpfreeError: see :func:`bpfree.cli.session.check`.
        """
        ready = check(self, work.request["use"], _arms(work.request["arms"]))
        mine, planned = ready.setting.data.data_digest, work.request["data_digest"]
        if mine != planned:
            raise DataError(
                f"the work at {work.store.place} was planned on {ready.dataset} with other contents (digest {planned[:16]}, here "
                f"{mine[:16]}); give the same data with --data-dir"
            )
        return ready


def _arms(text: str | None) -> Sequence[Arm] | None:
    return None if text is None else parse_arms(text)


def _ruleset(fields: Mapping[str, Any], work: Work) -> Ruleset:
    return build(fields, f"the ruleset of the work at {work.store.place}")
