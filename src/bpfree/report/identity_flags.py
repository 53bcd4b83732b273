"""What a reader must know about the identity of the runs: other code that was accepted, other machines, records of version 1."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from bpfree.records import SINCE_2, Record
from bpfree.report.audit import Flag, mistake
from bpfree.report.identity import CODE, code_differences
from bpfree.report.material import Material
from bpfree.report.model import Table

__all__ = ["NOT_IN_VERSION_1", "identity_flags", "lacking"]

ROUNDING = ("device", "gpu", "processor", "processor_kind", "instruction_set", "blas")
"""Facts of a machine on which the last digits of a sum depend."""

NOT_IN_VERSION_1 = "records of version 1 do not have it"


def identity_flags(table: Table, material: Material) -> Iterator[Flag]:
    """Flags of one table."""
    yield from _other_code(table)
    yield from _other_machines(table, material)
    yield from _old_records(table)


def _other_code(table: Table) -> Iterator[Flag]:
    differences = code_differences(table.runs)
    if differences:
        which = "; ".join(f"{name} {' and '.join(values)}" for name, values in differences.items())
        yield mistake("different-code", f"accuracies cannot be compared either ({which}).")


def _other_machines(table: Table, material: Material) -> Iterator[Flag]:
    digests = list(dict.fromkeys(run.environment_digest for run in table.runs))
    if len(digests) < 2:
        return
    described = [_facts(material.environments.get(digest)) for digest in digests]
    differences = _differences(described)
    if differences:
        yield Flag(
            "different-machines",
            f"the runs come from different machines ({'; '.join(differences)}): their times and energies cannot be compared, "
            f"their accuracies can{_rounding(described)}.",
        )


def _rounding(described: list[dict[str, str] | None]) -> str:
    """What another kind of processor does to accuracies, as a clause; empty where all are of one kind, as far as is known."""
    known = [{"gpu": "none", **facts} for facts in described if facts is not None]
    if all(len({facts[key] for facts in known if key in facts}) < 2 for key in ROUNDING):  # older files lack some
        return ""
    return (
        ", though not digit by digit: kinds of processor round differently, so that the same command gives other accuracies on "
        "another kind"
    )


def _facts(environment: Mapping[str, Any] | None) -> dict[str, str] | None:
    """Facts of an environment as texts, versions by their package; those of the code apart. None where it is not described."""
    if environment is None:
        return None
    facts = {key: value for key, value in environment.items() if key != "versions"}
    versions = {key: value for key, value in (environment.get("versions") or {}).items() if key not in (*CODE, "bpfree")}
    return {key: str(value) for key, value in (facts | versions).items()}


def _differences(described: list[dict[str, str] | None]) -> list[str]:
    known = [facts for facts in described if facts is not None]
    texts = []
    for name in dict.fromkeys(name for facts in known for name in facts):
        values = list(dict.fromkeys(facts.get(name, "none") for facts in known))
        if len(values) > 1:
            texts.append(f"{name.replace('_', ' ')} {' and '.join(values)}")
    return texts + (["not all of them are described"] if len(known) < len(described) else [])


def _old_records(table: Table) -> Iterator[Flag]:
    if any(run.schema_version < 2 for run in table.runs):
        yield Flag(
            "old-records",
            "the records are of version 1. Their rules leave out the search spaces, and their data the normalisation, so that "
            "two tables with the same digests may differ in both; steps, processor time and the load by other processes were not "
            "recorded, so that nothing here checks them.",
        )
    on_gpu = sum(run.schema_version < 2 and str(run.plan.get("device", "")).startswith("cuda") for run in table.runs)
    if on_gpu:
        yield Flag(
            "allocator-peak",
            f"the peak memory of {on_gpu} of {len(table.runs)} runs is that of the allocator of the GPU over the whole run, "
            "validation included, and not that of a training step.",
        )


def lacking(run: Record) -> dict[str, str]:
    """Reasons for what a record of version 1 cannot have, by path; none for a later one."""
    if run.schema_version >= 2:
        return {}
    return dict.fromkeys(sorted(SINCE_2 - {"study", "memory.allocator_peak"}), NOT_IN_VERSION_1)
