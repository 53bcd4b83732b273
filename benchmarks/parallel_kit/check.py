"""What the cost model of ``docs/cost-model.md`` predicts for ranks of one machine, beside what they took."""

from __future__ import annotations

from typing import Any

from bpfree.units import format_time

from .page import limit_of

__all__ = ["predicted_speed_up", "table"]

HEADER = (
    "net", "ranks", "one process", "balance", "machine's limit", "a hand-over", "predicted speed-up", "measured",
    "measured / predicted",
)  # fmt: skip


def predicted_speed_up(loads: list[int], limit: float, serial_s: float, wire_s: float, steps: int) -> float:
    """Speed-up over one process where all ranks share one machine.

    Args:
        loads: multiply-adds of a step of each rank.
        limit: throughput of as many trainings at once, over that of one.
        serial_s: seconds of a step in one process.
        wire_s: seconds of a hand-over.
        steps: between which the pipeline stays full.

    Returns:
        Σ tᵣ / max(max tᵣ, Σ tᵣ / limit, τ) · S / (S + N - 1).
    """
    most_s = serial_s * max(loads) / sum(loads)
    return serial_s / max(most_s, serial_s / limit, wire_s) * steps / (steps + len(loads) - 1)


def table(results: dict[str, Any]) -> list[str]:
    """Lines of Markdown; none where nothing was measured."""
    if not results.get("checks"):
        return []
    lines = [f"| {' | '.join(HEADER)} |", "|---|" + "---:|" * (len(HEADER) - 1)]
    for name, found in results["checks"].items():
        net, ranks = name.split(" ")
        (rule,) = found["loads"]
        loads, seconds = found["loads"][rule], found["step_s"]
        serial_s = min(seconds[rule])
        limit = limit_of(found, rule) if len(loads) > 1 else 1.0
        predicted = predicted_speed_up(loads, limit, serial_s, found["hand_over_s"], found["steps"])
        measured = serial_s / min(seconds[f"{rule} layers"])
        cells = (
            f"`{net}`", ranks, format_time(serial_s), f"{sum(loads) / max(loads) / len(loads):.2f}", f"{limit:.2f}",
            format_time(found["hand_over_s"]), f"{predicted:.2f}", f"{measured:.2f}", f"{measured / predicted:.2f}",
        )  # fmt: skip
        lines.append(f"| {' | '.join(cells)} |")
    loads = [found["load"] for found in results["checks"].values()]
    day = max(found["measured_at"] for found in results["checks"].values())[:10]
    return [
        *lines,
        "",
        f"Measured {day}, one thread a rank, load before {min(loads):.1f} to {max(loads):.1f}, least of the windows.",
    ]
