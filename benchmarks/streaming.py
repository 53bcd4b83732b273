"""Data larger than memory: examples per second and resident set of a training that reads files, beside one that reads memory.

    python benchmarks/streaming.py                                     # 200 MB of each, a minute
    python benchmarks/streaming.py --gigabytes 5 --keep                # 15 GB of disk, 6 GB of memory
    python benchmarks/streaming.py --gigabytes 5 --kinds npy --keep    # 5 GB of disk, little memory

Three data sets of the same examples, float32 (3, 64, 64): arrays in memory, the ``.npy`` pair itself, and shards of webdataset.
Each is trained by backprop with ``mlp:2x1000`` in a process of its own, so that its peak of the resident set is its own. They
take turns of ``--seconds``, and wait in between, so that all see the same machine. At its end each process reads a whole pass
without steps, so that the peak is that of all examples. Loading (digest, statistics, and for shards unpacking) is told apart.
The table goes to standard output, and with ``--keep`` every number to ``benchmarks/results/streaming.json``.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import multiprocessing
import os
import shutil
import statistics
import sys
import tempfile
import time
from datetime import UTC, datetime
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np

RESULTS = Path(__file__).parent / "results" / "streaming.json"
SHAPE = (3, 64, 64)
N_CLASSES = 10
IN_A_SHARD = 2000
KINDS = ("memory", "npy", "shards")


def write_pair(folder: Path, n: int) -> None:
    """``x.npy`` and ``y.npy``, a few examples at a time; each class has its own mean."""
    noise = np.random.default_rng(0).standard_normal((1000, *SHAPE), dtype=np.float32)
    y = np.arange(n) % N_CLASSES
    np.save(folder / "y.npy", y)
    x = np.lib.format.open_memmap(folder / "x.npy", "w+", np.float32, (n, *SHAPE))
    for start in range(0, n, 1000):
        stop = min(start + 1000, n)
        x[start:stop] = noise[: stop - start] + (y[start:stop, None, None, None] / 10 + start * 1e-6).astype(np.float32)
    x.flush()


def write_shards(folder: Path, n: int) -> str:
    """The same as shards; the pattern that names them."""
    import webdataset

    x, y = np.load(folder / "x.npy", mmap_mode="r"), np.load(folder / "y.npy")
    for shard, start in enumerate(range(0, n, IN_A_SHARD)):
        with webdataset.TarWriter(str(folder / f"shard-{shard:06}.tar")) as writer:
            for row in range(start, min(start + IN_A_SHARD, n)):
                writer.write({"__key__": f"{row:09}", "npy": x[row], "cls": int(y[row])})
    return f"{folder}/shard-{{000000..{(n - 1) // IN_A_SHARD:06}}}.tar"


def peak_bytes() -> int:
    """Of this process's resident set so far (``getrusage`` would count its parent's too, from before it was another program)."""
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) * 1024


def train(connection: Connection, spec: str, data_in: str, batch_size: int, net: str) -> None:
    """Load, then make steps for as long as each message says; at an empty one read the rest of the pass."""
    import torch

    from bpfree import data, nets
    from bpfree.algorithms import Backprop, step
    from bpfree.train import initialise

    torch.set_num_threads(1)
    base_bytes, begin_s = peak_bytes(), time.perf_counter()
    loaded = data.load(spec, data_in=data_in).without_test()
    load_s = time.perf_counter() - begin_s
    rule, chain = Backprop(), nets.build(net, loaded.in_shape, loaded.n_classes)
    state = initialise(rule, chain, 0)
    (phase,) = rule.phases(chain)
    connection.send((load_s, loaded.data_digest, loaded.n("train")))

    def batches():
        pass_index = 0
        while True:
            yield from loaded.batches("train", batch_size, pass_index=pass_index)
            pass_index += 1

    stream = batches()
    for seconds in iter(connection.recv, None):
        n, begin_s = 0, time.perf_counter()
        while (took_s := time.perf_counter() - begin_s) < seconds:
            batch = next(stream)
            step(rule, chain, state, batch, phase)
            n += len(batch.y)
        connection.send(n / took_s)
    del stream
    n, begin_s = 0, time.perf_counter()
    for batch in loaded.batches("train", batch_size, pass_index=1):
        n += len(batch.y)
    read_s = time.perf_counter() - begin_s
    connection.send((n, n / read_s, peak_bytes(), base_bytes))


@dataclasses.dataclass
class Row:
    """What one process did."""

    kind: str
    load_s: float
    examples: int
    per_s: list[float]
    read_per_s: float
    peak_bytes: int
    before_bytes: int


def compare(specs: dict[str, tuple[str, str]], seconds: float, rounds: int, batch_size: int, net: str) -> list[Row]:
    """One process a kind, taking turns."""
    context = multiprocessing.get_context("spawn")
    ends, processes, rows, digests = {}, [], {}, set()
    for kind, (spec, data_in) in specs.items():
        ends[kind], theirs = context.Pipe()
        process = context.Process(target=train, args=(theirs, spec, data_in, batch_size, net), daemon=False)
        process.start()
        theirs.close()  # so that a process that fails is noticed
        processes.append(process)
        load_s, digest, n = ends[kind].recv()  # one after another
        digests.add(digest)
        rows[kind] = Row(kind, load_s, n, [], 0.0, 0, 0)
        print(f"{kind}: loaded in {load_s:.1f} s", file=sys.stderr)  # noqa: T201
    assert len(digests) == 1, "the data sets differ"
    for number in range(rounds):
        for kind in list(specs)[number % len(specs) :] + list(specs)[: number % len(specs)]:
            ends[kind].send(seconds)
            rows[kind].per_s.append(ends[kind].recv())
    for kind, row in rows.items():
        ends[kind].send(None)
        n, row.read_per_s, row.peak_bytes, row.before_bytes = ends[kind].recv()
        assert n == row.examples
    for process in processes:
        process.join()
    return list(rows.values())


def table(rows: list[Row]) -> str:
    """In Markdown."""
    lines = [
        f"| examples in | loading | steps, examples/s | ratio to {rows[0].kind} | reading, examples/s | peak resident set |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    first = rows[0]
    for row in rows:
        ratio = statistics.median(one / other for one, other in zip(row.per_s, first.per_s, strict=True))
        lines.append(
            f"| {row.kind} | {row.load_s:.1f} s | {statistics.median(row.per_s):,.0f} | {ratio:.2f} | {row.read_per_s:,.0f} "
            f"| {row.peak_bytes / 1e9:.2f} GB |"
        )
    return "\n".join(lines)


def main() -> int:
    """Write the data, compare, report, delete the data."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gigabytes", type=float, default=0.2, help="of examples, in each form")
    parser.add_argument("--seconds", type=float, default=5.0, help="of a turn")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--net", default="mlp:2x1000")
    parser.add_argument("--kinds", default=",".join(KINDS), help="some of memory, npy, shards")
    parser.add_argument("--folder", type=Path, help="where the data are written; by default the folder for temporary files")
    parser.add_argument("--keep", action="store_true", help="write benchmarks/results/streaming.json")
    options = parser.parse_args()
    n = max(N_CLASSES * 10, round(options.gigabytes * 1e9 / (4 * np.prod(SHAPE))))
    with tempfile.TemporaryDirectory(dir=options.folder, prefix="bpfree-streaming-") as name:
        folder = Path(name)
        kinds = options.kinds.split(",")
        needed, free = (3 if "shards" in kinds else 1) * options.gigabytes * 1e9, shutil.disk_usage(folder).free
        if needed > 0.9 * free:
            sys.stderr.write(f"{needed / 1e9:.1f} GB are needed in {folder}, and {free / 1e9:.1f} GB are free\n")
            return 2
        os.environ["XDG_CACHE_HOME"] = str(folder / "cache")  # of the unpacked shards: deleted with the rest
        write_pair(folder, n)
        pattern = write_shards(folder, n) if "shards" in kinds else ""
        pair = f"{folder}/x.npy,{folder}/y.npy"
        specs = {"memory": (pair, "memory"), "npy": (pair, "files"), "shards": (pattern, "files")}
        rows = compare({kind: specs[kind] for kind in kinds}, options.seconds, options.rounds, options.batch_size, options.net)
    size_gb = n * 4 * np.prod(SHAPE) / 1e9
    title = f"{n:,} examples, {size_gb:.2f} GB; {options.net}, batch {options.batch_size}, 1 thread"
    print(f"{title}\n\n{table(rows)}")  # noqa: T201
    if options.keep:
        found = {
            "made": datetime.now(UTC).isoformat(timespec="seconds"),
            "examples": n,
            "example_bytes": int(4 * np.prod(SHAPE)),
            "net": options.net,
            "batch_size": options.batch_size,
            "turn_s": options.seconds,
            "rows": [dataclasses.asdict(row) for row in rows],
        }
        RESULTS.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
