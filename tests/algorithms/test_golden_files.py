"""Every golden file belongs to a case of a contract: a file that nothing reads is left over from a change of defaults."""

from __future__ import annotations

import ast
import importlib.util
from pathlib import Path

from bpfree.algorithms import Algorithm
from bpfree.testing import AlgorithmContract
from bpfree.testing.golden import file_name

FOLDER = Path(__file__).parent
TESTS = FOLDER.parent


def contracts() -> list[type[AlgorithmContract]]:
    """The contract classes of this folder, read from its files: independent of which tests run in this process."""
    classes = []
    for path in sorted(FOLDER.glob("test_*.py")):
        if "AlgorithmContract" in path.read_text() and path != Path(__file__):
            spec = importlib.util.spec_from_file_location(f"golden_{path.stem}", path)
            module = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(module)
            members = vars(module).values()
            classes += [
                member
                for member in members
                if isinstance(member, type) and issubclass(member, AlgorithmContract) and member.__name__.startswith("Test")
            ]
    return classes


def unread(folder: Path, algorithms: list[Algorithm]) -> set[str]:
    """Files of a folder that belong to none of the rules."""
    return {path.name for path in folder.iterdir()} - {file_name(algorithm) for algorithm in algorithms}


def test_every_golden_file_is_read() -> None:
    algorithms = [algorithm for contract in contracts() for algorithm in contract.rules]
    assert len(algorithms) > 40
    assert unread(FOLDER / "golden", algorithms) == set()


def test_a_file_that_no_contract_reads_is_reported(tmp_path: Path) -> None:
    algorithms = list(contracts()[0].rules)
    for name in (file_name(algorithms[0]), "mono-forward,lr=7.0.json"):
        (tmp_path / name).write_text("{}")
    assert unread(tmp_path, algorithms) == {"mono-forward,lr=7.0.json"}


def test_every_other_data_file_is_named_by_a_test() -> None:
    """Fixture files outside ``golden/`` folders: a test or a helper of the same folder names each of them."""
    data = [
        path
        for path in TESTS.rglob("*")
        if path.is_file() and path.suffix not in (".py", ".pyc") and path.parent.name not in ("golden", "__pycache__")
    ]
    unnamed = [str(path.relative_to(TESTS)) for path in data if not _named(path)]
    assert unnamed == []


def _named(path: Path) -> bool:
    """Whether Python code in the same folder, in one below or in the one above has the file's name in a string, or a function
    that is called as the file is."""
    sources = (*path.parent.rglob("*.py"), *path.parent.parent.glob("*.py"))
    return any(_names(node, path) for source in sources for node in ast.walk(ast.parse(source.read_text())))


def _names(node: ast.AST, path: Path) -> bool:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return path.name in node.value
    return isinstance(node, ast.FunctionDef) and node.name == path.stem


def test_a_data_file_without_a_reader_is_reported(tmp_path: Path) -> None:
    (tmp_path / "test_something.py").write_text('DATA = "table.csv"\n')
    assert _named(tmp_path / "table.csv")
    assert not _named(tmp_path / "other.csv")
