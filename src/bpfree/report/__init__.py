"""Reports: a self-contained page, Markdown, CSV and SVG from the records of run directories. No torch.

>>> from bpfree import report
>>> report.build([Path("runs/2026-11-21-digits")]).page  # doctest: +SKIP
PosixPath('runs/2026-11-21-digits/report/index.html')
"""

from bpfree.report.page import ReportPaths, build, headline_rows, summarise
from bpfree.report.tables import TextTable

__all__ = ["ReportPaths", "TextTable", "build", "headline_rows", "summarise"]
