"""What ``benchmarks/experiments.py`` is made of: the experiments, what their records say, and the page."""
