"""A user's own functions named in text, ``module:function`` or ``file.py:function``, as ``--net`` and ``--dataset`` take them.

Such a text runs code. It is read only where the user wrote it himself, never from a file that others may have made (a model, a
suite).
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import os
import re
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

from bpfree.errors import BpfreeError, UsageError, unknown_name

__all__ = ["called", "function_named", "is_function_text", "name_of"]

_FORM = re.compile(r"(?P<module>[A-Za-z_]\w*(\.[A-Za-z_]\w*)*|.*\.py):(?P<function>[A-Za-z_]\w*)")


def is_function_text(text: str) -> bool:
    """Whether a text has the form ``module:function`` or ``file.py:function``; nothing is imported."""
    return _FORM.fullmatch(text) is not None


def name_of(function: Callable[..., Any]) -> str:
    """``module:function`` of a function that was given as an object."""
    kind = function if hasattr(function, "__qualname__") else type(function)
    return f"{kind.__module__}:{kind.__qualname__}"


def function_named(text: str) -> Callable[..., Any]:
    """Import a function; modules beside the working directory are found too.

    Raises:
        UsageError: a text of another form, no such module or function, or a module that raises, with the place.
    """
    match = _FORM.fullmatch(text)
    if match is None:
        raise UsageError(f"cannot read {text!r}; write module:function or file.py:function")
    place, name = match["module"], match["function"]
    module = _of_file(Path(place), text) if place.endswith(".py") else _of_name(place, text)
    function = getattr(module, name, None)
    if function is None:
        functions = [key for key, value in vars(module).items() if callable(value) and not key.startswith("_")]
        raise unknown_name(f"function in {place}:", name, functions)
    if not callable(function):
        raise UsageError(f"{text} is a {type(function).__name__}, not a function")
    return function


def called(function: Callable[..., Any], text: str, *arguments: Any) -> Any:
    """What a user's function returns.

    Raises:
        UsageError: it raised, with the place. Errors of bpfree are left as they are.
    """
    with _told(f"{text}({', '.join(map(repr, arguments))})"):
        return function(*arguments)


def _of_name(name: str, text: str) -> ModuleType:
    here = os.getcwd()  # noqa: PTH109 - an entry of sys.path is text
    added = here not in sys.path and "" not in sys.path
    if added:
        sys.path.insert(0, here)
    try:
        with _told(f"importing {name} for {text!r}"):
            try:
                return importlib.import_module(name)
            except ModuleNotFoundError as error:
                if error.name is None or not (name == error.name or name.startswith(f"{error.name}.")):
                    raise
                raise UsageError(
                    f"there is no module {error.name} for {text!r}; run where it is, or write the path: FILE.py:FUNCTION"
                ) from None
    finally:
        if added:
            sys.path.remove(here)


def _of_file(path: Path, text: str) -> ModuleType:
    if not path.is_file():
        raise UsageError(f"there is no file {path} for {text!r}; check the path")
    name = f"_bpfree_own_{hashlib.sha256(os.fsencode(path.resolve())).hexdigest()[:12]}_{path.stat().st_mtime_ns}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None  # it ends in .py
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # for its dataclasses, and for pickles of what it defines
    try:
        with _told(f"importing {path} for {text!r}"):
            spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


@contextmanager
def _told(what: str) -> Iterator[None]:
    """Whatever a user's code raises, in one line with the place."""
    try:
        yield
    except BpfreeError:
        raise
    except Exception as error:
        frame = traceback.extract_tb(error.__traceback__)[-1]
        reason = (str(error).splitlines() or [""])[0]
        raise UsageError(f"{what} raised {type(error).__name__}: {reason} ({frame.filename}, line {frame.lineno})") from error
