"""The benchmark: arms, searches, measured runs, and the directory that keeps them."""

from bpfree.bench.arm import Arm, parse_arms, with_control
from bpfree.bench.compare import ComparisonRun
from bpfree.bench.directory import RunDirectory, fresh_path
from bpfree.bench.measure import measure
from bpfree.bench.observer import Observer, SilentObserver
from bpfree.bench.setting import Setting, check_runnable, check_supported
from bpfree.bench.spaces import check_named

__all__ = [
    "Arm",
    "ComparisonRun",
    "Observer",
    "RunDirectory",
    "Setting",
    "SilentObserver",
    "check_named",
    "check_runnable",
    "check_supported",
    "fresh_path",
    "measure",
    "parse_arms",
    "with_control",
]
