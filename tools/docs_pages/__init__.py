"""The pages of the documentation that are made of the code and of committed results; docs/conf.py calls :func:`write`."""

from __future__ import annotations

import shutil
from pathlib import Path

__all__ = ["DOCS", "GENERATED", "write"]

DOCS = Path(__file__).parents[2] / "docs"
GENERATED = DOCS / "generated"


def write(folder: Path = GENERATED) -> list[Path]:
    """Write every page again; what is there is deleted first."""
    from tools.docs_pages.api_pages import write_api  # deferred: torch
    from tools.docs_pages.choice_tables import write_tables
    from tools.docs_pages.command_pages import write_commands
    from tools.docs_pages.notebook_pages import write_notebooks
    from tools.docs_pages.record_pages import write_records
    from tools.docs_pages.rule_pages import write_rules

    shutil.rmtree(folder, ignore_errors=True)
    return [
        *write_rules(folder / "rules"),
        *write_commands(folder / "commands"),
        *write_records(folder),
        *write_notebooks(folder / "notebooks"),
        *write_tables(folder),
        *write_api(folder / "api"),
    ]
