"""What was asked for on the command line, and the line that a worker is started with."""

from __future__ import annotations

import argparse
import math
from dataclasses import dataclass
from pathlib import Path

from bpfree.errors import UsageError

__all__ = ["HERE", "RULESET", "SECTIONS", "Options", "parse"]

HERE = Path(__file__).parents[1]
RULESET = HERE / "rulesets" / "cifar10-mlp-3x2000.yaml"
ARMS = "backprop,mono-forward,mono-forward:schedule=staged,forward-forward,frozen,blockwise:reach=2"

BATCH_SIZES, WINDOW_S, ROUNDS, SEEDS = (128, 512, 4096), 10.0, 3, 5

SECTIONS = ("doctor", "costs", "experiment", "clocks", "tests")
"""In order of worth: is the meter right; what a pass costs; what a whole training costs and gains; the clocks; the tests."""


@dataclass(frozen=True)
class Options:
    """Everything that was asked for.

    Attributes:
        data_dir: None: BPFREE_DATA, or the user's cache.
        dataset, net: None: those of the ruleset's plan.
        arms: of the costs; those of the experiment are the ruleset's.
        window_s: least length of a metered window (s).
        rounds: how often every cost is measured.
        seeds: of the experiment, at most.
        sections: of :data:`SECTIONS`.
        commit: of the code, where git cannot say.
        in_process: measure in this process.
        show: measure nothing.
        worker, until_s: set where this process is the worker: when it ends, on the monotonic clock (s).
    """

    device: str
    max_minutes: float
    data_dir: Path | None
    out: Path
    ruleset: str
    dataset: str | None
    net: str | None
    arms: str
    batch_sizes: tuple[int, ...]
    window_s: float
    rounds: int
    seeds: int
    sections: tuple[str, ...]
    commit: str | None = None
    in_process: bool = False
    show: bool = False
    worker: bool = False
    until_s: float = math.inf

    def worker_line(self, until_s: float, sections: tuple[str, ...]) -> list[str]:
        """The arguments of a worker that measures ``sections``."""
        named = {
            "--device": self.device,
            "--max-minutes": repr(self.max_minutes),
            "--data-dir": self.data_dir,
            "--out": self.out,
            "--ruleset": self.ruleset,
            "--dataset": self.dataset,
            "--net": self.net,
            "--arms": self.arms,
            "--batch-sizes": ",".join(map(str, self.batch_sizes)),
            "--window-s": repr(self.window_s),
            "--rounds": self.rounds,
            "--seeds": self.seeds,
            "--sections": ",".join(sections),
            "--commit": self.commit,
            "--until-s": repr(until_s),
        }
        return ["--worker", *(word for key, value in named.items() if value is not None for word in (key, str(value)))]

    def shown(self) -> str:
        """The command as the answer names it: every option that decides a number, without the folders of this machine.

        Sections are not named: which were run, and when, stands in each of them.
        """
        line = f"python benchmarks/answer.py --device {self.device} --max-minutes {self.max_minutes:g}"
        line += " --data-dir DIR" if self.data_dir is not None else ""
        given = {
            "--ruleset": Path(self.ruleset).name if self.ruleset != str(RULESET) else None,
            "--dataset": self.dataset and Path(self.dataset).name,
            "--net": self.net,
            "--arms": self.arms if self.arms != ARMS else None,
            "--batch-sizes": ",".join(map(str, self.batch_sizes)) if self.batch_sizes != BATCH_SIZES else None,
            "--window-s": f"{self.window_s:g}" if self.window_s != WINDOW_S else None,
            "--rounds": str(self.rounds) if self.rounds != ROUNDS else None,
            "--seeds": str(self.seeds) if self.seeds != SEEDS else None,
        }
        return line + "".join(f" {name} {value}" for name, value in given.items() if value)


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> None:  # type: ignore[override]  # raises where argparse exits
        raise UsageError(message)


def parse(argv: list[str] | None, about: str | None) -> Options:
    """Read the options.

    Raises:
        UsageError: one that is unknown, or has a value that cannot be used.
    """
    parser = _Parser(prog="answer.py", description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--max-minutes", type=float, default=25.0, help="all of it ends by then (default 25)")
    parser.add_argument("--data-dir", type=Path, help="holds cifar-10-batches-py/")
    parser.add_argument("--out", type=Path, default=Path("answer"), help="the one directory that is written (default answer)")
    parser.add_argument("--ruleset", default=str(RULESET), help="of experiment 1")
    parser.add_argument("--dataset", help="default: the ruleset's; seconds and joules need no real examples: synthetic:...")
    parser.add_argument("--net", help="default: the ruleset's")
    parser.add_argument("--arms", default=ARMS, help="whose steps and passes are measured; the first is the reference")
    parser.add_argument("--batch-sizes", default=",".join(map(str, BATCH_SIZES)))
    parser.add_argument("--window-s", type=float, default=WINDOW_S, help="least length of a metered window")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="windows of each cost, where time allows")
    parser.add_argument("--seeds", type=int, default=SEEDS, help="paired seeds of experiment 1, where time allows")
    parser.add_argument("--sections", default=",".join(SECTIONS))
    parser.add_argument("--commit", help="of the code, where git cannot say (a copy without its history)")
    parser.add_argument("--in-process", action="store_true", help="measure in this process (an error of the GPU then ends all)")
    parser.add_argument("--show", action="store_true", help="measure nothing: page and figures from what is there")
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--until-s", type=float, default=math.inf, help=argparse.SUPPRESS)
    given = vars(parser.parse_args(argv))
    sizes, sections = given.pop("batch_sizes"), tuple(given.pop("sections").split(","))
    _check_positive("--max-minutes", given["max_minutes"], "25 gives everything at least once on a fast GPU")
    _check_positive("--window-s", given["window_s"], "a counter needs 2 s at least")
    for name in ("rounds", "seeds"):
        if given[name] < 1:
            raise UsageError(f"--{name} must be at least 1, got {given[name]}")
    unknown = [name for name in sections if name not in SECTIONS]
    if unknown:
        raise UsageError(f"unknown section {unknown[0]!r}; choose from {', '.join(SECTIONS)}")
    ordered = tuple(name for name in SECTIONS if name in sections)
    return Options(**given, batch_sizes=_sizes(sizes), sections=ordered)


def _check_positive(name: str, value: float, cure: str) -> None:
    if not (math.isfinite(value) and value > 0):
        raise UsageError(f"{name} must be a number above 0, got {value:g}; {cure}")


def _sizes(text: str) -> tuple[int, ...]:
    words = [word.strip() for word in text.split(",")]
    if not words or not all(word.isdecimal() and int(word) > 0 for word in words):
        raise UsageError(f"--batch-sizes must be whole numbers from 1 with commas between them, got {text!r}")
    return tuple(dict.fromkeys(int(word) for word in words))
