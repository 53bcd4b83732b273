"""How fast everything is, as ratios to torch's own step on the same net in the same run.

    make bench                                   # all of it (half an hour on two cores), written to benchmarks/results/bench.json
    make bench-compare                           # the same measured again, and what became slower than the committed figures
    python benchmarks/bench.py --cases "mlp:2x256" --tiers eager --windows 9       # a part of it, on the terminal
    python benchmarks/bench.py --page            # the table and the figure of docs/performance.md

For every net and batch size, rule and tier: a training step, a training pass, an evaluation of the validation split, live bytes
of a step, time to compile; then start-up and the main job. Windows of all contenders follow one another in turns. A ratio says
what the rule costs beside ``nn.Module`` + autograd + fused AdamW; seconds are of one machine and one day.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported: one thread a step, as the main job
os.environ.setdefault("TORCHINDUCTOR_FORCE_DISABLE_CACHES", "1")  # what an earlier run compiled is compiled again, and timed

import torch
from bench_kit import comparing, page
from bench_kit.measuring import CASES, KINDS, measured_case, measured_programs

from bpfree.bench import environment
from bpfree.files import write_atomic

HERE = Path(__file__).parent
RESULTS = HERE / "results" / "bench.json"
ARMS = "backprop,mono-forward,mono-forward:schedule=staged,forward-forward,frozen,blockwise:reach=2"
OTHER_ARMS = (
    *("deep-supervision", "cascaded-forward", "local-similarity", "feedback-alignment", "sign-symmetry"),
    *("direct-feedback-alignment", "pepita", "foton", "spatial-goodness"),
)
"""Of the other rules; in the tier eager, in the cases :data:`OF_ALL_RULES`."""

OF_ALL_RULES = ("mlp:2x256, batch 128", "mlp:2x1000, batch 128")
TIERS = "eager,compiled"


def say(line: str) -> None:
    """Progress, on standard error."""
    print(line, file=sys.stderr, flush=True)  # noqa: T201


def measured(options: argparse.Namespace) -> dict[str, Any]:
    """Everything that was asked for, with the machine, its load and the versions; cases of a run that was broken off are kept."""
    names = options.cases.split(",") if options.cases else None
    cases = [case for case in CASES if names is None or case.net in names or case.name in names]
    load_before = os.getloadavg()[0]
    begun = options.begun
    arms, tiers, kinds = options.arms.split(","), options.tiers.split(","), options.kinds.split(",")
    run = {
        "environment": environment.facts(torch.device(options.device)).as_json(),
        "code": environment.code_digest(),
        "kit": digest_of_kit(),
        "asked": [arms, tiers, kinds, options.device],
        "windows": options.windows,
        "of": [case.name for case in cases],
        "more": [OF_ALL_RULES, OTHER_ARMS],
    }
    kept, done = _kept(begun), {}
    if kept.get("run") == json.loads(json.dumps(run)):
        done, load_before = kept["cases"], kept["load_before"]
        say(f"going on behind {', '.join(done)}")
    for case in cases:
        if case.name not in done:
            more = OTHER_ARMS if options.arms == ARMS and case.name in OF_ALL_RULES else ()
            done[case.name] = measured_case(case, arms, tiers, options.device, options.windows, say, kinds, more)
            write_atomic(begun, json.dumps({"run": run, "cases": done, "load_before": load_before}))
    found = {
        "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "environment": run["environment"],
        "windows": options.windows,
        "kit": run["kit"],
        "cases": [done[case.name] for case in cases],
        "programs": [] if options.no_programs else measured_programs(5, say),
    }
    begun.unlink(missing_ok=True)
    return found | {"load": [load_before, os.getloadavg()[0]]}


def digest_of_kit() -> str:
    """Of the code that measures: what another version of it measured is not gone on with."""
    sha = hashlib.sha256()
    for name in ("contenders.py", "measuring.py"):
        sha.update((HERE / "bench_kit" / name).read_bytes())
    return sha.hexdigest()[:16]


def _kept(begun: Path) -> dict[str, Any]:
    """Of a run that was broken off; empty where there is none, or where it cannot be read."""
    try:
        return json.loads(begun.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}


def main(arguments: list[str] | None = None) -> int:
    """The command; its exit status is 1 where something became slower."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", help=f"nets, of {', '.join(dict.fromkeys(case.net for case in CASES))}; all by default")
    parser.add_argument("--arms", default=ARMS)
    parser.add_argument("--tiers", default=TIERS)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--kinds", default=",".join(KINDS), help="what to time, of %(default)s; all by default")
    parser.add_argument("--windows", type=int, default=7)
    parser.add_argument("--no-programs", action="store_true", help="leave out start-up and the main job")
    parser.add_argument("--out", type=Path, help="by default results/bench.json beside this file; a part goes to the terminal")
    parser.add_argument("--compare", action="store_true", help="hold what is measured against --out, which is left as it is")
    parser.add_argument("--page", action="store_true", help="measure nothing: make the page's part of --out")
    options = parser.parse_args(arguments)
    deciding = ("cases", "arms", "tiers", "kinds", "windows", "device", "no_programs")
    part = options.out is None and any(getattr(options, key) != parser.get_default(key) for key in deciding)
    committed_to = options.out or RESULTS
    what = "begun-compare" if options.compare else "begun-part" if part else "begun"  # none goes on with, or ends, another
    options.begun = committed_to.with_suffix(f".{what}.json")
    if options.page:
        page.write(json.loads(committed_to.read_text(encoding="utf-8")))
        return 0
    if options.windows < 1:
        parser.error(f"--windows must be at least 1, got {options.windows}")
    if unknown := [kind for kind in options.kinds.split(",") if kind not in KINDS]:
        parser.error(f"--kinds are {', '.join(KINDS)}, got {unknown[0]!r}")
    if options.compare:
        committed = json.loads(committed_to.read_text(encoding="utf-8"))
        now = measured(options)
        for line in comparing.not_comparable(committed, now):
            say(line)
        slower = comparing.slower(committed, now)
        print("\n".join(slower) or "nothing became slower by more than the noise of the two runs")  # noqa: T201
        return 1 if slower else 0
    found = measured(options)
    if part:
        print(page.part(found))  # noqa: T201 - it would take the place of the whole
        return 0
    write_atomic(committed_to, json.dumps(found, indent=1) + "\n")
    if options.out is None:
        page.write(found)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
