"""A project of one module, for the tests of `make mutate`."""

from __future__ import annotations

from pathlib import Path

import pytest

MODULE = '''"""Numbers."""

__all__ = ["ratio"]
LIMIT: int | None = 10


def ratio(a: float, b: float) -> float:
    """a / b, at most 10."""
    return min(a / b, LIMIT)


def unseen(n: int) -> int:
    return n + 1
'''

TEST = """from small.numbers import ratio, unseen


def test_ratio():
    assert ratio(6, 3) == 2
    assert ratio(60, 3) == 10
"""

LIST = """[packages.small]
path = "src/small"
tests = ["tests/test_numbers.py"]
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory with ``src``, ``tests`` and both lists."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")  # importing plugins takes longer than these tests
    files = {
        "src/small/__init__.py": "",
        "src/small/numbers.py": MODULE,
        "tests/test_numbers.py": TEST,
        "tests/mutation.toml": LIST,
        "tests/mutation-survivors.toml": "",
    }
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path
