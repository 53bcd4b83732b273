"""Mutation testing: change one line, run the nearest tests, and list the changes that no test sees.

    make mutate                                     150 mutants, the same number from each package
    make mutate MUTANTS=20 MODULES="stats report/beside" SEED=1
    make mutate CHOSEN=1                            those of tests/mutation-kinds.toml: two or more for each kind of error

Cosmic Ray (a library) makes the mutants. Its runner is not used, because it has one test command for all modules and
changes the working tree; mutmut has no sample, runs the whole suite first, and rewrites every function, which tests
that read the source cannot bear. This tool adds what is missing: the nearest tests of each module
(``tests/mutation.toml``), a sample with a seed, copies of the tree, and accepted survivors with a reason
(``tests/mutation-survivors.toml``).

An interrupted run resumes: outcomes are stored in ``.mutation/outcomes.jsonl``. A killed mutant is not run again; a
survivor is run again after any change of ``src`` or ``tests``.

Exit code: 0 if the share of killed mutants reaches the goal (of chosen ones all of them), 1 if not, 2 if a list is wrong
or tests fail as they are.
"""

from __future__ import annotations

import argparse
import itertools
import sys
from collections.abc import Sequence
from pathlib import Path

from tools.mutation.mutants import Candidate, Mutant, candidates, sample
from tools.mutation.running import Outcome, TestsFailError, run
from tools.mutation.table import Result, share_killed, text
from tools.mutation.targets import ListError, read_accepted, read_chosen, read_libraries, read_packages, select

GOAL = 0.95
"""Smallest share of killed mutants."""


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    parser = argparse.ArgumentParser(prog="make mutate", description="Mutation testing with the nearest tests.")
    parser.add_argument("modules", nargs="*", help="packages or modules such as stats or stats/intervals; default: all")
    parser.add_argument("--mutants", type=int, default=150, help="size of the sample")
    parser.add_argument("--seed", type=int, default=0, help="seed of the sample")
    parser.add_argument("--chosen", action="store_true", help="the listed mutants, not a sample")
    parser.add_argument("--processes", type=int, default=2, help="tests that run at the same time")
    parser.add_argument("--limit-s", type=float, default=180, help="longest time for a mutant, in seconds")
    parser.add_argument("--root", type=Path, default=Path.cwd(), help="directory of the project")
    options = parser.parse_args(arguments)
    try:
        results = _results(options, options.root.resolve())
    except (ListError, TestsFailError) as error:
        print(error, file=sys.stderr)
        return 2
    print(text(results))
    goal = 1.0 if options.chosen else GOAL
    return 0 if share_killed([result for part in results.values() for result in part]) >= goal else 1


def _results(options: argparse.Namespace, root: Path) -> dict[str, list[Result]]:
    packages = read_packages(root / "tests" / "mutation.toml", root)
    accepted = read_accepted(root / "tests" / "mutation-survivors.toml", root)
    chosen = list(select(packages, options.modules, root))
    tests = {module: package.tests_of(module) for package, module in chosen}
    if options.chosen:
        listed = read_chosen(root / "tests" / "mutation-kinds.toml", root)
        mutants = {kind: [mutant for mutant in part if mutant.path in tests] for kind, part in listed.items()}
    else:
        groups: dict[str, list[Candidate]] = {}
        for package, module in chosen:
            groups.setdefault(package.name, []).extend(candidates(module, root))
        mutants = sample(groups, options.mutants, options.seed, root)
    reasons = {mutant: entry.reason for part in mutants.values() for mutant in part for entry in accepted if entry.covers(mutant)}
    work = [(mutant, tests[mutant.path]) for part in mutants.values() for mutant in part if mutant not in reasons]
    counter = itertools.count(1)

    def report(mutant: Mutant, outcome: Outcome, seconds: float) -> None:
        line = f"{next(counter):>4}/{len(work)} {outcome:<9}{seconds:>6.1f} s  {mutant.place}: {mutant.before} -> {mutant.after}"
        print(line[:200], file=sys.stderr, flush=True)

    outcomes = run(
        work,
        root,
        root / ".mutation" / "outcomes.jsonl",
        processes=options.processes,
        limit_s=options.limit_s,
        libraries=read_libraries(root / "tests" / "mutation.toml"),
        report=report,
    )
    return {
        name: [Result(mutant, outcomes.get(mutant), reasons.get(mutant)) for mutant in part] for name, part in mutants.items()
    }


if __name__ == "__main__":
    sys.exit(main())
