"""What ``benchmarks/parallel.py`` runs in its ranks, and the page that it writes."""

AT_ONCE = " at once"
"""Behind the name of what each rank does by itself, all at the same time."""
