"""``bpfree new-rule``: a package with a rule that works, from which one's own is written."""

from __future__ import annotations

import importlib.util
import keyword
import re
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from string import Template

from bpfree import catalogue
from bpfree._version import __version__
from bpfree.cli.output import say
from bpfree.errors import StorageError, UsageError
from bpfree.files import writing

__all__ = ["new_rule_command", "write_package"]

_NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")


def new_rule_command(name: str, to: Path | None) -> int:
    """Write the package, and say what to do next.

    Raises:
        UsageError, StorageError: see :func:`write_package`.
    """
    folder = write_package(name, Path() if to is None else to)
    say(f"wrote {folder}: the rule is in src/{_module(name)}/rule.py; README.md says how to install and check it")
    return 0


def write_package(name: str, to: Path) -> Path:
    """Write a package for a rule into a new folder of its name; returns the folder.

    Args:
        name: of the rule, as on the command line, such as ``"my-rule"``; the package is called so too, its module ``my_rule``.
        to: where the folder is made.

    Raises:
        UsageError: a name that no rule can have, or one that is taken.
        StorageError: the folder exists, or cannot be written.
    """
    _check_name(name)
    folder = to / name
    if folder.exists() or folder.is_symlink():
        raise StorageError(f"{folder} exists; choose another name, or another place with --to DIR")
    words = {
        "name": name,
        "module": _module(name),
        "class_name": "".join(part.capitalize() for part in name.split("-")),
        "version": __version__,
    }
    with writing(folder):
        _copy(resources.files("bpfree.cli.new_rule") / "template", folder, words)
    return folder


def _module(name: str) -> str:
    return name.replace("-", "_")


def _check_name(name: str) -> None:
    if not _NAME.fullmatch(name):
        raise UsageError(f"a rule cannot be called {name!r}; write small letters, digits and single hyphens, such as my-rule")
    if name in catalogue.rules():
        raise UsageError(f"there is a rule {name} already, in bpfree; choose another name")
    if name in catalogue.other_rules():
        raise UsageError(f"there is a rule {name} already, in {catalogue.other_rules()[name].distribution}; choose another name")
    module = _module(name)
    if keyword.iskeyword(module) or importlib.util.find_spec(module) is not None:
        raise UsageError(f"the module of {name} would be {module}, which Python has already; choose another name")


def _copy(source: Traversable, target: Path, words: dict[str, str]) -> None:
    """A folder of templates: ``$name`` and the like are filled in, in names (``_name_`` there) and in texts; ``.txt`` goes."""
    target.mkdir(parents=True)
    for entry in sorted(source.iterdir(), key=lambda each: each.name):
        called = entry.name.replace("_module_", words["module"]).replace("_name_", words["name"])
        if entry.is_dir():
            _copy(entry, target / called, words)
        elif called.endswith(".txt"):
            text = Template(entry.read_text(encoding="utf-8")).substitute(words)
            (target / called.removesuffix(".txt")).write_text(text, encoding="utf-8")
