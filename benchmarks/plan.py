"""How far predictions of ``bpfree plan`` lie from what is measured: bytes and seconds of a step, seconds of a pass.

    python benchmarks/plan.py                    # measures (minutes), written to benchmarks/results/plan.json
    python benchmarks/plan.py --page             # the tables of docs/plan.md, from that file

In every round each rule trains a few steps and a pass, and each operation is timed once more; the least of the rounds counts on
both sides. Beside it stands the prediction by the first timing alone, which is what a single ``bpfree plan --calibrate`` says.
Seconds are those of the processor (one thread), which on an idle machine are those of the wall.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
import textwrap
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported: one thread, whose seconds can be told from others'

import torch

from bpfree import data
from bpfree.bench import Arm, environment
from bpfree.bench.cost import step_cost
from bpfree.files import write_atomic
from bpfree.planning.clock import Clock, now
from bpfree.planning.power import MeteredPower
from bpfree.planning.prediction import Predictor
from bpfree.train import STEPS_BEFORE_REPETITION, evaluate, initialise, stepper
from bpfree.units import format_bytes, format_time

HERE = Path(__file__).parent
RESULTS, PAGE = HERE / "results" / "plan.json", HERE.parent / "docs" / "plan.md"
BEGIN, END = "<!-- made by python benchmarks/plan.py --page -->", "<!-- end of plan -->"

Case = tuple[str, str, int, int]

CASES: tuple[Case, ...] = (
    ("mlp:2x256", "digits", 128, 20),
    ("mlp:3x1000", "synthetic:n=2000:inputs=1x28x28", 128, 2),
    ("mf-cnn4", "synthetic:n=300:inputs=3x32x32", 32, 1),
)
"""Net, data, batch size, and passes in a round: short steps are repeated more often."""

ARMS = ("backprop", "mono-forward", "mono-forward:schedule=staged", "forward-forward", "direct-feedback-alignment", "foton")


def say(line: str) -> None:
    """Progress, on standard error."""
    print(line, file=sys.stderr, flush=True)  # noqa: T201


class Measured:
    """One arm on one net, trained for real; what is least of all rounds is kept."""

    def __init__(self, text: str, spec: str, loaded: data.Dataset, batch_size: int) -> None:
        self.arm, self.data, self.batch_size = Arm.parse(text), loaded, batch_size
        self.rule = self.arm.build({})
        self.net = Predictor(loaded, Clock(), MeteredPower(())).net(spec)
        self.state = initialise(self.rule, self.net, 0)
        cost = step_cost(self.rule, self.net, self.state, loaded, batch_size)
        assert cost.peak_bytes is not None
        self.step_bytes, self.scoring_bytes = cost.peak_bytes, cost.evaluation_peak_bytes
        self.period = math.lcm(*(work.every for work in self.rule.upkeep() if work.every), 1)
        self.phases = self.rule.phases(self.net)
        self.batch = next(iter(loaded.batches("train", batch_size)))
        self._steps_s = [[math.inf] * self.period for _ in self.phases]
        self._batches_s: list[dict[int, float]] = [{} for _ in self.phases]
        self._ends_s = [math.inf] * len(self.phases)
        # one for each phase: a training has one phase after the other, here they take turns
        self.take_steps = [stepper("eager", self.rule, self.net, self.state) for _ in self.phases]
        for take_step, phase in zip(self.take_steps, self.phases, strict=True):
            for _ in range(STEPS_BEFORE_REPETITION):  # work that is done once
                take_step(self.batch, phase)

    def round(self) -> None:
        """A pass of every phase, and before it as many steps on full batches as the longest period has. Each part is timed alone.

        A step's time is kept by its place in the period of what is done now and then, a batch's by its number in the pass.
        """
        for k, phase in enumerate(self.phases):
            for _ in range(2 * self.period):
                place = (self.state.count.value + 1) % self.period
                took = _seconds(lambda: self.take_steps[k](self.batch, phase))  # noqa: B023 - called at once
                self._steps_s[k][place] = min(self._steps_s[k][place], took)
            begin = now()
            for number, batch in enumerate(self.data.batches("train", self.batch_size)):
                self.take_steps[k](batch, phase)
                self._batches_s[k][number] = min(now() - begin, self._batches_s[k].get(number, math.inf))
                begin = now()
            self.rule.close(self.net, self.state, phase)
            evaluate(self.rule, self.net, self.state, self.data, "validation", phase, choosing=True)
            self._ends_s[k] = min(self._ends_s[k], now() - begin)

    @property
    def step_s(self) -> float:
        """Mean over the phases, and over the period of what is done now and then."""
        return sum(sum(places) / len(places) for places in self._steps_s) / len(self.phases)

    @property
    def pass_s(self) -> float:
        """Mean over the phases, validation included."""
        return sum(sum(batches.values()) for batches in self._batches_s) / len(self.phases) + sum(self._ends_s) / len(self.phases)


def _seconds(call: Callable[[], object]) -> float:
    begin = now()
    call()
    return now() - begin


def measured_case(case: Case, arms: Sequence[str], rounds: int) -> Iterator[dict[str, Any]]:
    """The rows of one net."""
    spec, dataset, batch_size, each = case
    loaded = data.load(dataset).without_test()
    clock = Clock()
    forecasts = Predictor(loaded, clock, MeteredPower(()))
    able = []
    for text in arms:
        passes = max(1, len(Arm.parse(text).build({}).phases(forecasts.net(spec))))
        prediction = forecasts.predict(Arm.parse(text), spec, batch_size, passes)
        if prediction.refusal is not None:
            say(f"{text} on {spec}: {prediction.refusal}")
            continue
        able.append((text, passes, Measured(text, spec, loaded, batch_size)))
    clock.settle()
    first = {text: forecasts.predict(Arm.parse(text), spec, batch_size, passes) for text, passes, _ in able}
    calibration_s = clock.measured_s
    for number in range(rounds):
        say(f"{spec}: round {number + 1} of {rounds}")
        clock.settle(1)
        for _, _, real in able:
            for _ in range(each):
                real.round()
    for text, passes, real in able:
        last = forecasts.predict(Arm.parse(text), spec, batch_size, passes)
        assert last.memory is not None
        yield {
            "net": spec,
            "dataset": dataset,
            "batch_size": batch_size,
            "arm": text,
            "calibration_s": calibration_s,
            "step_bytes": {"predicted": last.memory.peak, "measured": real.step_bytes},
            "scoring_bytes": {"predicted": last.scoring_bytes, "measured": real.scoring_bytes},
            "step_s": {"predicted": last.step_s, "measured": real.step_s, "first": first[text].step_s},
            "pass_s": {"predicted": last.pass_s, "measured": real.pass_s, "first": first[text].pass_s},
        }


def part(found: dict[str, Any]) -> str:
    """The Markdown between the marks of docs/plan.md."""
    facts, load = found["environment"], found["load"]
    made = (
        f"{found['measured_at'][:10]}, {facts['processor']}, one thread, torch {facts['versions']['torch']}; load {load[0]:.1f} "
        f"before and {load[1]:.1f} after; {found['rounds']} rounds."
    )
    lines = ["", *textwrap.wrap(made, 128, break_long_words=False, break_on_hyphens=False)]
    for net in dict.fromkeys(row["net"] for row in found["rows"]):
        rows = [row for row in found["rows"] if row["net"] == net]
        about = f"{rows[0]['dataset']}, batch {rows[0]['batch_size']}"
        lines += ["", f"`{net}` on `{about.split(',')[0]}`,{about.split(',')[1]}:", ""]
        lines += ["| rule | bytes | ratio | scoring | step | ratio | first | pass | ratio | first |", "|---|" + "---:|" * 9]
        lines += [f"| {row['arm']} | " + " | ".join(_cells(row)) + " |" for row in rows]
    return "\n".join([*lines, "", *_summary(found["rows"]), ""])


def _cells(row: dict[str, Any]) -> Iterator[str]:
    for key, shown, also in (
        ("step_bytes", format_bytes, ()),
        ("scoring_bytes", None, ()),
        ("step_s", format_time, ("first",)),
        ("pass_s", format_time, ("first",)),
    ):
        pair = row[key]
        if shown is not None:
            yield shown(pair["measured"])
        yield f"{ratio(pair):.2f}"
        yield from (f"{ratio(pair, name):.2f}" for name in also)


def ratio(pair: dict[str, float], name: str = "predicted") -> float:
    """Predicted over measured."""
    return pair[name] / pair["measured"]


def _summary(rows: Sequence[dict[str, Any]]) -> Iterator[str]:
    """The extremes, and how many lie within what was asked: 15 % for bytes, 30 % for seconds."""
    yield "| predicted / measured | least | greatest | within |"
    yield "|---|---:|---:|---:|"
    for words, key, name, limit in (
        ("bytes of a step", "step_bytes", "predicted", 0.15),
        ("bytes of scoring", "scoring_bytes", "predicted", 0.15),
        ("seconds of a step", "step_s", "predicted", 0.3),
        ("seconds of a step, first timing alone", "step_s", "first", 0.3),
        ("seconds of a pass", "pass_s", "predicted", 0.3),
        ("seconds of a pass, first timing alone", "pass_s", "first", 0.3),
    ):
        ratios = [ratio(row[key], name) for row in rows]
        within = sum(abs(each - 1) <= limit for each in ratios)
        yield f"| {words} | {min(ratios):.2f} | {max(ratios):.2f} | {within} of {len(ratios)} within {100 * limit:.0f} % |"


def main(arguments: list[str] | None = None) -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--nets", help="of those that are measured by default, comma-separated")
    parser.add_argument("--arms", default=",".join(ARMS))
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--page", action="store_true", help="measure nothing: write the tables of docs/plan.md from --out")
    options = parser.parse_args(arguments)
    if options.page:
        before, after = PAGE.read_text(encoding="utf-8").split(BEGIN)[0], PAGE.read_text(encoding="utf-8").split(END)[1]
        write_atomic(PAGE, f"{before}{BEGIN}\n{part(json.loads(options.out.read_text(encoding='utf-8')))}{END}{after}")
        return 0
    if options.rounds < 1:
        parser.error(f"--rounds must be at least 1, got {options.rounds}")
    torch.set_num_threads(1)
    cases = [case for case in CASES if options.nets is None or case[0] in options.nets.split(",")]
    load = os.getloadavg()[0]
    rows = [row for case in cases for row in measured_case(case, options.arms.split(","), options.rounds)]
    found = {
        "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "environment": environment.facts(torch.device("cpu")).as_json(),
        "rounds": options.rounds,
        "load": [load, os.getloadavg()[0]],
        "rows": rows,
    }
    write_atomic(options.out, json.dumps(found, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
