"""What ``benchmarks/bench.py`` is made of: who competes, how it is measured, the page, the comparison."""
