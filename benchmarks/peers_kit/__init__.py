"""What ``benchmarks/peers.py`` is made of: checkouts, an adapter for each peer, windows in turns."""
