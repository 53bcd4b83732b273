"""``bpfree plan``: what training would take, which rules fit a budget, and what to change for those that do not."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from bpfree.cli.options import DataOptions
from bpfree.cli.output import console, print_json, print_table, say
from bpfree.cli.sources import reading_of, source_of
from bpfree.planning import Plan, PlanRow, plan
from bpfree.units import MISSING, format_bytes, format_count, format_energy, format_time

__all__ = ["plan_command"]

NO_WAY = "No smaller batch, setting, narrower net or number of passes fits."


def plan_command(
    data: DataOptions,
    *,
    arms: str | None,
    batch_size: int | None,
    max_passes: int | None,
    max_memory: str | None,
    max_seconds: float | None,
    max_joules: float | None,
    measured: Path | None,
    calibrate: bool,
    as_json: bool,
) -> int:
    """Predict, print."""
    with console(stderr=True, quiet=as_json).status("") as status:
        made = plan(
            None if arms is None else arms.split(","),
            data.net or "mlp:2x256",
            source_of(data.dataset or "digits", data.target_column, data.split_column, reading_of(data)),
            batch_size=batch_size,
            max_passes=max_passes,
            max_memory=max_memory,
            max_seconds=max_seconds,
            max_joules=max_joules,
            measured=measured,
            calibrate=calibrate,
            data_dir=data.data_dir,
            channels=data.channels,
            on_row=status.update,
        )
    if as_json:
        print_json(made.as_json())
    else:
        _print(made)
    return 0


def _print(made: Plan) -> None:
    rows = [row for row in made.rows if row.prediction.refusal is None]
    columns = {
        "fits": [_fits(row) for row in rows],
        "peak": [format_bytes(row.prediction.peak_bytes) for row in rows],
        "a step": [format_time(row.prediction.step_s) for row in rows],
        "a pass": [format_time(row.prediction.pass_s) for row in rows],
        f"{made.passes} passes": [format_time(row.prediction.run_s) for row in rows],
        "energy": [format_energy(row.prediction.joules) for row in rows],
        "MACs a step": [format_count(row.prediction.step_macs) for row in rows],
        "MACs a pass": [format_count(row.prediction.pass_macs) for row in rows],
    }
    title = f"{made.dataset}, {made.net}, batch {made.batch_size}: predicted for this machine's processor"
    _table(title, rows, columns if not made.budget.is_empty else {name: c for name, c in columns.items() if name != "fits"})
    memories = [row.prediction.memory for row in rows]
    parts = ("weights", "auxiliary", "optimiser", "gradients", "activations")
    split = {part: [format_bytes(memory and getattr(memory, part)) for memory in memories] for part in parts}
    split |= {"step": [format_bytes(memory and memory.peak) for memory in memories]}
    _table("bytes at the highest moment of a step", rows, split | {"scoring": [_bytes(row) for row in rows]})
    for line in _lines(made):
        say(line)


def _table(title: str, rows: Sequence[PlanRow], columns: dict[str, list[str]]) -> None:
    lines = zip(*columns.values(), strict=True)
    print_table(title, ("arm", *columns), [(row.prediction.arm, *line) for row, line in zip(rows, lines, strict=True)])


def _fits(row: PlanRow) -> str:
    return "yes" if row.fits else "no"


def _bytes(row: PlanRow) -> str:
    return format_bytes(row.prediction.scoring_bytes)


def _lines(made: Plan) -> list[str]:
    """What stands below the tables."""
    lines = []
    for row in made.rows:
        arm = row.prediction.arm
        if row.prediction.refusal is not None:
            lines.append(f"{arm} was left out: {row.prediction.refusal}")
        elif row.fits is False:
            ways = "; or ".join(map(str, row.changes))
            lines.append(f"{arm} needs {row.too_much}. " + (f"What fits: {ways}" if row.changes else NO_WAY))
    if (nearest := made.nearest) is not None:
        line = f"Nothing fits. Nearest is {nearest.prediction.arm} on {nearest.prediction.net}: {nearest.too_much}."
        if (way := made.way_out) is not None:
            line += f" Nearest that fits: {way.prediction.arm} with {way}"
        lines.append(line)
    reasons = {why: key for row in made.rows for key, why in row.prediction.reasons.items()}
    lines += [f"{MISSING} {_WORDS[key]}: {why}" for why, key in reasons.items()]
    lines += [f"energy by {words}" for words in dict.fromkeys(row.prediction.power for row in made.rows) if words]
    lines.append(
        f"Beside these bytes come the data ({format_bytes(made.data_bytes)}) and the process with its libraries "
        f"({format_bytes(made.process_bytes)} now, data included). A pass is its steps and its validation; early stopping "
        "makes a run shorter."
    )
    return lines


_WORDS = {"joules": "energy", "step_macs": "MACs", "pass_macs": "MACs", "step_s": "time", "pass_s": "time", "run_s": "time"}
