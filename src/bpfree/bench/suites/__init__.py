"""Suites: published tables as lists of rows that `bpfree reproduce` can run, one YAML file each."""

from bpfree.bench.suites.files import load, names
from bpfree.bench.suites.schema import Inline, Row, RulesetUse, Section, Suite

__all__ = ["Inline", "Row", "RulesetUse", "Section", "Suite", "load", "names"]
