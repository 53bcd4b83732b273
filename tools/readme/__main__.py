"""``python -m tools.readme``."""

from tools.readme import main

main()
