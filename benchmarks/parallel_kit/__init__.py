"""What ``benchmarks/parallel.py`` runs in its ranks, and the page that it writes."""
