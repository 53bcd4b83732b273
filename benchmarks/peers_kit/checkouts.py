"""Functions of a checkout that the user supplies: imported from there, and nothing of it stays among the modules."""

from __future__ import annotations

import importlib
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bpfree.errors import UsageError

__all__ = ["Checkout"]


@dataclass(frozen=True)
class Checkout:
    """A folder with the files of a repository.

    Attributes:
        folder: where it lies.
        url: where it comes from.
        written_for: the commit whose functions the adapters call.
    """

    folder: Path
    url: str
    written_for: str

    @property
    def commit(self) -> str | None:
        """What is checked out, with ``-dirty`` where files were changed; None where the folder is no repository of its own."""
        if not (self.folder / ".git").exists():
            return None
        asked = ["git", "-C", str(self.folder), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
        return subprocess.run(asked, capture_output=True, text=True, check=False).stdout.strip() or None

    def names(self, **wanted: str) -> list[Any]:
        """Objects of its modules.

        Args:
            wanted: name of the object to the dotted name of its module, such as ``train="src.loop"``.

        Raises:
            UsageError: the folder, a module, a name, or a package that the checkout imports is not there; in one line.
        """
        if not self.folder.is_dir():
            raise UsageError(f"{self.folder} is not there; put a checkout there: git clone {self.url} {self.folder}")
        with _importing_from(self.folder):
            return [self._named(module, name) for name, module in wanted.items()]

    def _named(self, module: str, name: str) -> Any:
        other = f"the adapter was written for commit {self.written_for[:7]} of {self.url}; check that out"
        file = self.folder / module.replace(".", "/")
        if not file.with_suffix(".py").is_file() and not (file / "__init__.py").is_file():
            raise UsageError(f"{self.folder} has no {module.replace('.', '/')}.py; {other}")
        try:
            return getattr(importlib.import_module(module), name)
        except ModuleNotFoundError as error:
            missing = error.name or str(error)
            if _is_of(self.folder, missing):
                raise UsageError(f"{self.folder} has no module {missing}, which its {module} imports; {other}") from None
            raise UsageError(
                f"{self.folder}: its {module} imports {missing}, which is not installed; install what the peer requires, or "
                "put it on PYTHONPATH"
            ) from None
        except AttributeError:
            raise UsageError(f"{self.folder}: {module} has no {name}; {other}") from None
        except Exception as error:  # noqa: BLE001  # whatever a stranger's module does when it is imported
            raise UsageError(f"{self.folder}: {module} cannot be imported ({type(error).__name__}: {error}); {other}") from None


def _top_level(folder: Path) -> set[str]:
    return {path.stem for path in folder.iterdir() if path.suffix == ".py" or path.is_dir()}


def _is_of(folder: Path, module: str) -> bool:
    return (folder / module.split(".")[0]).is_dir()


@contextmanager
def _importing_from(folder: Path) -> Iterator[None]:
    """The folder is searched first; two peers call their package ``src``, so that afterwards its modules are forgotten."""
    mine = _top_level(folder)
    hidden = {name: sys.modules.pop(name) for name in list(sys.modules) if name.split(".")[0] in mine}
    sys.path.insert(0, str(folder))
    importlib.invalidate_caches()
    try:
        yield
    finally:
        sys.path.remove(str(folder))
        for name in [name for name in sys.modules if name.split(".")[0] in mine]:
            del sys.modules[name]
        sys.modules.update(hidden)
