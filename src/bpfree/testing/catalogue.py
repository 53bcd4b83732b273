"""Write the catalogue of names that the command line reads without torch: ``python -m bpfree.testing.catalogue``."""

from __future__ import annotations

import dataclasses
import inspect
import json
import math
import re
import sys
from typing import Any

from bpfree import catalogue, data, nets, rulesets
from bpfree.algorithms import Algorithm, registry
from bpfree.bench import suites
from bpfree.bench.suites.listing import listed
from bpfree.catalogue.spec import Spec
from bpfree.files import write_atomic
from bpfree.nets.zoo import family_named

__all__ = ["as_text", "content", "documentation", "main"]


def documentation(rule: type) -> str:
    """The docstring of the module in which a rule is written."""
    return inspect.getdoc(sys.modules[rule.__module__]) or ""


def content() -> dict[str, Any]:
    """What the catalogue must hold, of the code."""
    ours = {name: rule for name, rule in sorted(registry().items()) if rule.__module__.startswith("bpfree.")}
    return {
        "rules": {name: _entry(rule) for name, rule in ours.items()},
        "nets": nets.describe(),
        "net_texts": {family: _reading(family) for family in nets.names()},
        "datasets": data.describe(),
        "rulesets": {name: _in_words(rulesets.load(name)) for name in rulesets.names()},
        "suites": {name: listed(suites.load(name)) for name in suites.names()},
    }


def _in_words(ruleset: rulesets.Ruleset) -> list[str]:
    return [ruleset.title, *rulesets.in_words(ruleset)]


class _Recording(Spec):
    """Notes how a family reads its text, so that it can be read again without building the net."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.calls: list[list[Any]] = []

    def word(self, key: str, default: str) -> str:
        self.calls.append(["word", [key, default], {}])
        return super().word(key, default)

    def natural(self, key: str, default: int, *, least: int = 1) -> int:
        value = super().natural(key, default, least=least)
        self.calls[-1] = ["natural", [key, default], {"least": least}]  # in the place of the word that it is
        return value

    def widths(self, default: tuple[int, ...], example: str) -> tuple[int, ...]:
        self.calls.append(["widths", [list(default), example], {}])
        return super().widths(default, example)

    def width(self, default: int, example: str) -> int:
        value = super().width(default, example)
        self.calls[-1] = ["width", [default, example], {}]  # in the place of the widths
        return value

    def layers(self) -> list[int]:
        self.calls.append(["layers", [], {}])
        return super().layers()

    def no_words(self) -> None:
        self.calls.append(["no_words", [], {}])
        super().no_words()


def _reading(family: str) -> list[list[Any]]:
    """The calls by which a family reads its text."""
    spec = _Recording(f"{family}:1x4" if family == "mlp" else family)
    family_named(family)(spec, (3, 32, 32), 10)
    return spec.calls


def _entry(rule: type[Algorithm[Any]]) -> dict[str, Any]:
    text = documentation(rule)
    return {
        "module": rule.__module__,
        "words": text.partition("\n")[0],
        "bibtex": re.findall(r"^@\w+\{.*?^\}", text, re.MULTILINE | re.DOTALL),
        "fields": {field.name: _field(field) for field in dataclasses.fields(rule)},
    }


def _field(field: dataclasses.Field[Any]) -> dict[str, Any]:
    admitted = field.metadata["range"]
    limits = {key: None if math.isinf(getattr(admitted, key)) else getattr(admitted, key) for key in ("low", "high")}
    others = {"open_low": admitted.open_low, "choices": list(admitted.choices), "readout": admitted.readout}
    return {"default": field.default, "kind": admitted.kind.__name__, **limits, **others}


def as_text(values: dict[str, Any]) -> str:
    """As it stands in the file."""
    return json.dumps(values, indent=1, ensure_ascii=False) + "\n"


def main() -> None:
    """Write the file."""
    write_atomic(catalogue.FILE, as_text(content()))


if __name__ == "__main__":
    main()
