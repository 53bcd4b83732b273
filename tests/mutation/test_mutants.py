"""What is mutated, and that a sample is the same on every machine."""

from __future__ import annotations

from pathlib import Path

import pytest
from cosmic_ray.mutating import mutate_code

from tools.mutation import operators
from tools.mutation.mutants import Mutant, candidates, make, sample

NUMBERS = Path("src/small/numbers.py")


@pytest.mark.parametrize("kind", [operators.OppositeFunction, operators.SwapArguments, operators.DropStatement])
def test_an_operator_does_what_its_examples_say(kind) -> None:
    for example in kind.examples():
        assert mutate_code(example.pre_mutation_code, kind(), example.occurrence) == example.post_mutation_code


@pytest.mark.parametrize(
    "code", ["f(a, 1)", "f(a)", "f(a,)", "max(a, b)", "f(a, key=b)", "x.max", "a = 1\n", "'text'\n", "def f(a, b): ..."]
)
def test_our_operators_leave_the_rest_alone(code: str) -> None:
    ours = [operators.SwapArguments(), operators.DropStatement()]
    assert [mutate_code(code, operator, 0) for operator in ours] == [None, None]


def every(project: Path) -> list[Mutant]:
    made = [make(candidate, project) for candidate in candidates(NUMBERS, project)]
    return [mutant for mutant in made if mutant is not None]


def test_every_mutant_of_a_module(project: Path) -> None:
    # The annotation `int | None` and `__all__` give none.
    assert sorted((mutant.line, mutant.after) for mutant in every(project)) == [
        (4, "LIMIT: int | None = 11"),
        (4, "LIMIT: int | None = 9"),
        (9, "return max(a / b, LIMIT)"),
        (9, "return min(a * b, LIMIT)"),
        (13, "return n + 0"),
        (13, "return n + 2"),
        (13, "return n - 1"),
    ]


def test_a_bare_star_of_a_signature_is_no_product_and_hides_none(project: Path) -> None:
    (project / NUMBERS).write_text("def area(a, *, b):\n    return a * b\n")
    assert [(mutant.line, mutant.after) for mutant in every(project)] == [(2, "return a / b")]


def test_one_mutant_a_place_and_the_same_number_from_each_group(project: Path) -> None:
    (project / "src/small/other.py").write_text("A = 1\nB = 2\nC = 3\nD = 4\nE = 5\nF = 6\n")
    groups = {name: list(candidates(Path(f"src/small/{name}.py"), project)) for name in ("numbers", "other")}
    few = sample(groups, 4, 0, project)
    assert [len(part) for part in few.values()] == [2, 2]
    everything = sample(groups, 100, 0, project)
    assert [len(part) for part in everything.values()] == [5, 6]  # LIMIT, min, /, + and 1; A to F
    assert sample(groups, 100, 1, project) != everything
    assert few["other"] == everything["other"][:2]


def test_a_new_line_elsewhere_leaves_the_sample_as_it_is(project: Path) -> None:
    def chosen() -> list[tuple[str, str]]:
        part = sample({"small": list(candidates(NUMBERS, project))}, 3, 0, project)["small"]
        return [(mutant.before, mutant.after) for mutant in part]

    before = chosen()
    path = project / NUMBERS
    path.write_text(path.read_text().replace("LIMIT: int", "NAME = 'small'\nLIMIT: int"))
    assert chosen() == before
