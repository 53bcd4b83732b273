"""Write the catalogue of names that the command line reads without torch: ``python -m bpfree.testing.catalogue``."""

from __future__ import annotations

import dataclasses
import inspect
import json
import math
import re
import sys
from typing import Any

from bpfree import catalogue, data, nets
from bpfree.algorithms import Algorithm, registry
from bpfree.files import write_atomic

__all__ = ["as_text", "content", "documentation", "main"]


def documentation(rule: type) -> str:
    """The docstring of the module in which a rule is written."""
    return inspect.getdoc(sys.modules[rule.__module__]) or ""


def content() -> dict[str, Any]:
    """What the catalogue must hold, of the code."""
    ours = {name: rule for name, rule in sorted(registry().items()) if rule.__module__.startswith("bpfree.")}
    return {"rules": {name: _entry(rule) for name, rule in ours.items()}, "nets": nets.describe(), "datasets": data.describe()}


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
