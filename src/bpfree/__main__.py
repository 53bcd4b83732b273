"""``python -m bpfree`` is the command ``bpfree``."""

from bpfree.cli import main

main()
