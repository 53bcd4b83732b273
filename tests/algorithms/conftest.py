"""Expensive checks of the contract run for the first rule of each class; ``make test-all`` runs them for its variants too."""

from __future__ import annotations

import pytest

TASKS = {"test_compiled_equals_eager": None, "test_learns_an_easy_task": "digits"}
"""Expensive checks, by name: compilation takes two seconds a rule. Of a check with several tasks only the named one is meant."""


@pytest.hookimpl(tryfirst=True)  # before pytest deselects what is marked slow
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark expensive checks of variants as slow."""
    for item in items:
        if not isinstance(item, pytest.Function) or item.originalname not in TASKS:
            continue
        params, rules = item.callspec.params, getattr(item.cls, "rules", ())
        variant = "algorithm" in params and params["algorithm"] is not rules[0]
        if variant and TASKS[item.originalname] in (None, params.get("task")):
            item.add_marker("slow")
