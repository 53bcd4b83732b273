"""The result as text: a table by package, and every survivor."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tools.mutation.mutants import Mutant
from tools.mutation.running import Outcome

__all__ = ["Result", "share_killed", "text"]


@dataclass(frozen=True)
class Result:
    """One mutant and what became of it; ``reason`` where it is accepted without a run."""

    mutant: Mutant
    outcome: Outcome | None
    reason: str | None = None

    @property
    def killed(self) -> bool:
        """True if a test fails, or does not end."""
        return self.outcome in ("killed", "timeout")

    @property
    def survived(self) -> bool:
        return self.outcome == "survived"


def share_killed(results: Sequence[Result]) -> float:
    """Killed / (killed + survived); accepted mutants do not count. 1 if there are none."""
    counted = [result for result in results if result.reason is None]
    return sum(result.killed for result in counted) / len(counted) if counted else 1.0


def text(results: Mapping[str, Sequence[Result]]) -> str:
    """A table (one row a package or kind, one for all), the survivors without a reason, the accepted ones with theirs."""
    everything = [result for part in results.values() for result in part]
    wide = max(14, *(len(name) + 2 for name in results)) if results else 14
    lines = [f"{'mutants of':<{wide}}{'killed':>8}{'survived':>10}{'accepted':>10}{'killed, %':>11}"]
    for name, part in [*results.items(), ("all", everything)]:
        killed, survived = (sum(getattr(result, kind) for result in part) for kind in ("killed", "survived"))
        accepted = sum(result.reason is not None for result in part)
        lines.append(f"{name:<{wide}}{killed:>8}{survived:>10}{accepted:>10}{100 * share_killed(part):>11.1f}")
    for title, chosen in [
        ("Survivors", [result for result in everything if result.survived]),
        ("Accepted (tests/mutation-survivors.toml)", [result for result in everything if result.reason is not None]),
    ]:
        if chosen:
            lines += ["", f"{title}:"]
        for result in chosen:
            mutant = result.mutant
            lines += [mutant.place, f"  before  {mutant.before}", f"  after   {mutant.after or '(nothing)'}"]
            lines += [f"  reason  {result.reason}"] if result.reason else []
    return "\n".join(lines)
