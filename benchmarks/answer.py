"""One command that answers in joules: what training without backpropagation costs and gains on this GPU.

    python benchmarks/answer.py --device cuda --max-minutes 25 --data-dir DIR     # or: make answer DATA=DIR
    python benchmarks/answer.py --show                                            # page and figures from what is there

It never runs past its time, and the same command goes on where the last one ended. ``docs/gpu-kit.md`` says what it measures, in
which order, and what it writes.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import psutil

sys.path.insert(0, str(Path(__file__).parents[1] / "src"))  # the code of this checkout, whatever is installed

from answer_kit.command import main

if __name__ == "__main__":
    age_s = max(0.0, time.time() - psutil.Process().create_time())  # loading the libraries counts
    sys.exit(main(about=__doc__, start_s=time.monotonic() - age_s))
