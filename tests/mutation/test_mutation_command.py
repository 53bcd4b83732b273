"""`make mutate` on a project of one module: what is killed, what survives, what is wrong with a list."""

from __future__ import annotations

from pathlib import Path

import pytest

from tools.mutation.__main__ import main
from tools.mutation.targets import ListError, Package, read_accepted, read_chosen, read_packages, select

ACCEPTED = """[[survivor]]
file = "src/small/numbers.py"
before = "return n + 1"
after = "{after}"
reason = "nobody calls it"
"""


def run(project: Path, *options: str) -> int:
    return main(["--root", str(project), "--processes", "1", *options])


def test_killed_and_survived_are_told_apart_and_the_tree_is_left_alone(project: Path, capsys) -> None:
    before = {path: path.read_bytes() for path in project.rglob("*") if path.is_file()}
    assert run(project) == 1
    out, err = capsys.readouterr()
    table, survivors = out.split("\n\n")
    assert table.splitlines()[1].split() == ["small", "3", "2", "0", "60.0"]
    assert table.splitlines()[2].split() == ["all", "3", "2", "0", "60.0"]
    assert survivors.count("src/small/numbers.py:13") == 2
    assert "before  return n + 1\n  after   return n - 1" in survivors
    assert err.count("killed") == 3
    assert {path: path.read_bytes() for path in before} == before


def test_outcomes_are_remembered_until_the_tests_change(project: Path, capsys) -> None:
    run(project)
    first = capsys.readouterr()
    run(project)
    again = capsys.readouterr()
    assert again.out == first.out
    assert again.err.count("  0.0 s") == 5
    test = project / "tests/test_numbers.py"
    test.write_text(test.read_text() + "    assert unseen(1) == 2\n")
    assert run(project) == 0
    changed = capsys.readouterr()
    assert "100.0" in changed.out
    assert changed.err.count("  0.0 s") == 3  # killed before: not run again


def test_a_mutant_without_end_is_killed(project: Path, capsys) -> None:
    module = project / "src/small/numbers.py"
    module.write_text(module.read_text().replace("return n + 1", "while n < 0:\n        n = -1\n    return n"))
    test = project / "tests/test_numbers.py"
    test.write_text(test.read_text() + "    assert unseen(1) == 1\n    assert unseen(0) == 0\n")
    run(project, "--limit-s", "1.0", "small/numbers")
    assert "timeout" in capsys.readouterr().err


def test_an_interrupted_run_resumes(project: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("tools.mutation.__main__.print", interrupt, raising=False)  # at the first outcome
        with pytest.raises(KeyboardInterrupt):
            run(project)
    assert run(project) == 1
    out, err = capsys.readouterr()
    assert out.splitlines()[1].split() == ["small", "3", "2", "0", "60.0"]
    assert err.count("  0.0 s") >= 1


def test_accepted_survivors_do_not_count_and_show_their_reason(project: Path, capsys) -> None:
    entries = [ACCEPTED.format(after=f"return n {end}") for end in ("- 1", "+ 0", "+ 2")]
    (project / "tests/mutation-survivors.toml").write_text("\n".join(entries))
    assert run(project) == 0
    out = capsys.readouterr().out
    assert out.splitlines()[1].split() == ["small", "3", "0", "2", "100.0"]
    assert out.count("reason  nobody calls it") == 2


def test_tests_that_fail_as_they_are_stop_the_tool(project: Path, capsys) -> None:
    (project / "tests/test_numbers.py").write_text("def test_wrong():\n    assert False\n")
    assert run(project) == 2
    assert capsys.readouterr().err == "tests fail without a mutation: pytest tests/test_numbers.py\n"


@pytest.mark.parametrize(
    ("wrong", "line"),
    [
        ('path = "src/small"\ntests = ["tests/gone.py"]', "packages.small: no test tests/gone.py; edit tests/mutation.toml"),
        ('path = "src/gone"\ntests = []', "packages.small.path: no folder src/gone; edit tests/mutation.toml"),
        ('path = "src/small"\ntests = []\nskip.gone = "x"', "packages.small: no module src/small/gone; edit tests/mutation.toml"),
        (
            'path = "src/small"\ntests = []\nnearest.numbers = ["tests/gone.py::TestA"]',
            "packages.small: no test tests/gone.py::TestA; edit tests/mutation.toml",
        ),
    ],
)
def test_a_path_that_does_not_exist_gets_one_line(project: Path, capsys, wrong: str, line: str) -> None:
    (project / "tests/mutation.toml").write_text("[packages.small]\n" + wrong)
    assert run(project) == 2
    assert capsys.readouterr().err == line + "\n"


def test_an_accepted_survivor_whose_line_is_gone_is_an_error(project: Path) -> None:
    path = project / "tests/mutation-survivors.toml"
    path.write_text(ACCEPTED.format(after="return n - 1").replace("n + 1", "m + 1"))
    with pytest.raises(ListError, match=r"src/small/numbers.py has no line 'return m \+ 1' any more"):
        read_accepted(path, project)


CHOSEN = """[[mutant]]
kind = "one more"
file = "src/small/numbers.py"
before = "return n + 1"
after = "return n + {more}"
"""


def test_chosen_mutants_are_all_to_be_killed(project: Path, capsys) -> None:
    """By kind; the one of a module that was not asked for is not run."""
    path = project / "tests/mutation-kinds.toml"
    path.write_text(CHOSEN.format(more=2))
    assert run(project, "--chosen") == 1
    assert capsys.readouterr().out.splitlines()[1].split() == ["one", "more", "0", "1", "0", "0.0"]
    test = project / "tests/test_numbers.py"
    test.write_text(test.read_text() + "    assert unseen(1) == 2\n")
    assert run(project, "--chosen") == 0
    out = capsys.readouterr().out
    assert out.splitlines()[1].split() == ["one", "more", "1", "0", "0", "100.0"]
    assert out.splitlines()[2].split() == ["all", "1", "0", "0", "100.0"]


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        ("numbers.py", "gone.py", "mutation-kinds.toml: no file src/small/gone.py; edit or delete the entry"),
        (
            'before = "return n',
            'before = "return m',
            "mutation-kinds.toml: src/small/numbers.py has 0 lines 'return m + 1', and one is needed; edit the entry",
        ),
    ],
)
def test_a_chosen_mutant_whose_line_is_gone_gets_one_line(project: Path, capsys, old: str, new: str, line: str) -> None:
    (project / "tests/mutation-kinds.toml").write_text(CHOSEN.format(more=2).replace(old, new))
    assert run(project, "--chosen") == 2
    assert capsys.readouterr().err == line + "\n"


def test_an_unknown_module_gets_one_line(project: Path, capsys) -> None:
    assert run(project, "large") == 2
    assert capsys.readouterr().err == "unknown module 'large'; known packages: small\n"


def test_tests_by_module_or_folder_the_longest_name_first(project: Path) -> None:
    folder = project / "src/small/part"
    folder.mkdir()
    (folder / "a.py").write_text("")
    nearest = {"part": ("one",), "part/a": ("two",)}
    package = Package("small", Path("src/small"), ("all",), nearest, {"numbers": "a reason"})
    assert package.modules(project) == [Path("src/small/part/a.py")]
    assert package.tests_of(Path("src/small/part/a.py")) == ("two",)
    assert package.tests_of(Path("src/small/part/b.py")) == ("one",)
    assert package.tests_of(Path("src/small/partly.py")) == ("all",)
    assert [module.name for _, module in select([package], ["small/part"], project)] == ["a.py"]


def test_modules_that_belong_together_share_a_list(project: Path) -> None:
    (project / "src/small/letters.py").write_text("")
    lines = ["[packages.small]", 'path = "src/small"', "tests = []", "[packages.small.nearest]"]
    (project / "tests/mutation.toml").write_text("\n".join([*lines, '"numbers letters" = ["tests/test_numbers.py"]']))
    (package,) = read_packages(project / "tests/mutation.toml", project)
    assert [package.tests_of(module) for module in package.modules(project)] == [("tests/test_numbers.py",)] * 2


def test_the_lists_of_this_project_are_true() -> None:
    root = Path(__file__).parents[2]
    packages = read_packages(root / "tests" / "mutation.toml", root)
    assert {package.name for package in packages} >= {"report", "bench", "stats", "rulesets", "meter", "numerics", "algorithms"}
    assert all(package.modules(root) for package in packages)
    read_accepted(root / "tests" / "mutation-survivors.toml", root)
    chosen = read_chosen(root / "tests" / "mutation-kinds.toml", root)
    assert len(chosen) == 14
    assert all(len(mutants) >= 2 for mutants in chosen.values())
    modules = {module for package in packages for module in package.modules(root)}
    assert {mutant.path for mutants in chosen.values() for mutant in mutants} <= modules
