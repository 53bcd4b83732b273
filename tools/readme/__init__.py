"""Table and picture of README.md, tables of docs/results.md, made of committed runs: ``python -m tools.readme``."""

from __future__ import annotations

from pathlib import Path

from tools.readme.picture import picture
from tools.readme.tables import digits_table, fashion_table, mnist_table

__all__ = ["PICTURE", "ROOT", "TABLES", "filled", "main"]

ROOT = Path(__file__).parents[2]
PICTURE = ROOT / "docs" / "figures" / "mnist-claim.svg"

TABLES = {
    ROOT / "README.md": {"mnist": mnist_table},
    ROOT / "docs" / "results.md": {"digits": digits_table, "mnist": mnist_table, "fashion-mnist": fashion_table},
}
"""Pages, and the tables that stand between their comments ``<!-- table NAME -->`` and ``<!-- end -->``."""


def filled(page: Path) -> str:
    """The text of a page with its tables made again."""
    text = page.read_text(encoding="utf-8")
    for name, make in TABLES[page].items():
        before, start, rest = text.partition(f"<!-- table {name}: python -m tools.readme -->\n")
        _, end, after = rest.partition("<!-- end -->")
        assert end, f"{page} has no table {name}"
        text = f"{before}{start}{make()}\n{end}{after}"
    return text


def main() -> None:
    """Write the pages and the picture."""
    for page in TABLES:
        page.write_text(filled(page), encoding="utf-8")
    PICTURE.write_text(picture(), encoding="utf-8")
