"""A page for each public module: what its ``__all__`` names, with signature and docstring."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import typing
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import bpfree
from bpfree.algorithms import Algorithm
from bpfree.catalogue import rules
from tools.docs_pages.markdown import as_markdown, escaped, table

__all__ = ["public_modules", "write_api"]

FIRST = ("bpfree", "bpfree.algorithms", "bpfree.algorithms.building", "bpfree.nets", "bpfree.data", "bpfree.train")
"""Shown first; the others follow by name."""
NOT_SHOWN = {"bpfree.cli", "bpfree.catalogue", "bpfree.testing"}
"""The command line has pages of its own; the catalogue is read through ``bpfree list``. The kit's classes are tests."""


def public_modules() -> list[str]:
    """Packages of bpfree with an ``__all__``, the modules of formulas, errors, and what rules are built from."""
    packages = [f"bpfree.{each.name}" for each in pkgutil.iter_modules(bpfree.__path__) if each.ispkg]
    numerics = importlib.import_module("bpfree.numerics")
    formulas = [f"bpfree.numerics.{each.name}" for each in pkgutil.iter_modules(numerics.__path__)]
    names = {*packages, *formulas, *FIRST, "bpfree.errors"} - NOT_SHOWN
    with_all = [name for name in sorted(names) if hasattr(importlib.import_module(name), "__all__")]
    return sorted(with_all, key=lambda name: (FIRST.index(name) if name in FIRST else len(FIRST), name))


def write_api(folder: Path) -> list[Path]:
    """``MODULE.md`` for each, and ``index.md``."""
    folder.mkdir(parents=True, exist_ok=True)
    modules = {name: importlib.import_module(name) for name in public_modules()}
    for name, module in modules.items():
        (folder / f"{name}.md").write_text(_page(name, module), encoding="utf-8")
    rows = [
        [f"[{name}]({name}.md)", escaped((inspect.getdoc(module) or "").partition("\n")[0])] for name, module in modules.items()
    ]
    listed = "\n".join(modules)
    index = folder / "index.md"
    index.write_text(
        "# Python\n\nWhat these modules name in `__all__` is public. A name with an underscore, and what is not listed here, may "
        f"change without notice.\n\n{table(('module', 'what it has'), rows)}\n\n```{{toctree}}\n:hidden:\n\n{listed}\n```\n",
        encoding="utf-8",
    )
    return [*(folder / f"{name}.md" for name in modules), index]


def _page(name: str, module: ModuleType) -> str:
    parts = [f"# {name}", f"```{{py:module}} {name}\n```", as_markdown(inspect.getdoc(module) or "")]
    for each in module.__all__:
        if each.startswith("__"):
            continue
        thing = getattr(module, each)
        if inspect.ismodule(thing):
            continue
        parts.append(_entry(each, thing))
    return "\n\n".join(part for part in parts if part) + "\n"


def _directive(kind: str, head: str, body: str, depth: int) -> str:
    fence = "`" * depth
    return f"{fence}{{py:{kind}}} {head}\n\n{body.strip()}\n{fence}"


def _entry(name: str, thing: Any) -> str:
    if inspect.isclass(thing) and not typing.get_origin(thing):
        kind = "exception" if issubclass(thing, BaseException) else "class"
        return _directive(kind, f"{name}{_signature(thing)}", _class_body(thing), 8)
    if callable(thing) and hasattr(thing, "__code__"):
        return _directive("function", f"{name}{_signature(thing)}", as_markdown(inspect.getdoc(thing) or ""), 8)
    shown = repr(thing)
    is_plain = len(shown) <= 160 and not set("`<") & set(shown)  # no address of an object, which differs between builds
    return _directive("data", name, f"`{shown}`" if is_plain else f"A {type(thing).__name__}.", 8)


def _class_body(thing: type) -> str:
    if issubclass(thing, Algorithm) and getattr(thing, "name", None) in rules():
        first = (inspect.getdoc(thing) or "").partition("\n")[0]
        return f"{escaped(first)} Its page: [{thing.name}](../rules/{thing.name}.md)."
    doc = thing.__doc__ or ""
    is_made = doc.startswith(f"{thing.__name__}(")  # what dataclasses and enumerations say of themselves
    parts = [] if is_made else [as_markdown(doc)]
    parts += [_member(name, member) for name, member in _members(thing)]
    return "\n\n".join(part for part in parts if part)


def _members(thing: type) -> Iterator[tuple[str, Any]]:
    for name, member in vars(thing).items():
        if name.startswith("_") or not inspect.getdoc(getattr(member, "__func__", member)):
            continue
        if isinstance(member, (classmethod, staticmethod, property)) or inspect.isfunction(member):
            yield name, member


def _member(name: str, member: Any) -> str:
    body = as_markdown(inspect.getdoc(getattr(member, "__func__", member)) or "")
    if isinstance(member, property):
        return _directive("property", name, body, 6)
    kind = {classmethod: "classmethod", staticmethod: "staticmethod"}.get(type(member), "method")
    return _directive(kind, f"{name}{_signature(getattr(member, '__func__', member), bound=kind != 'staticmethod')}", body, 6)


class _Plain:
    """An annotation or a default that is shown without quotes."""

    def __init__(self, text: str) -> None:
        self.text = text

    def __repr__(self) -> str:
        return self.text


def _signature(thing: Any, *, bound: bool = False) -> str:
    try:
        signature = inspect.signature(thing)
    except (TypeError, ValueError):
        return "()"
    shown = []
    for index, parameter in enumerate(signature.parameters.values()):
        if bound and index == 0:
            continue
        default = parameter.default
        if default is not parameter.empty and ("<" in repr(default) or "\n" in repr(default) or len(repr(default)) > 60):
            default = _Plain("...")
        shown.append(parameter.replace(annotation=_plain(parameter.annotation), default=default))
    answer = inspect.Signature.empty if inspect.isclass(thing) else _plain(signature.return_annotation)
    return str(signature.replace(parameters=shown, return_annotation=answer))


def _plain(annotation: Any) -> Any:
    if annotation is inspect.Signature.empty:
        return annotation
    if isinstance(annotation, str):
        return _Plain(annotation)
    if inspect.isclass(annotation) and not typing.get_origin(annotation):
        return _Plain(annotation.__name__)
    shown = str(annotation).replace("typing.", "").replace("collections.abc.", "")
    return _Plain(shown if "<" not in shown and "~" not in shown else "Any")
