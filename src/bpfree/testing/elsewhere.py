"""A second process, whose strings hash in another way: what is the same there does not hang on chance."""

from __future__ import annotations

import os
import pickle
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from multiprocessing import get_context

import torch

from bpfree.algorithms import Algorithm
from bpfree.nets import Chain
from bpfree.testing.bench import RuleOnNet, fingerprint

__all__ = ["trained_elsewhere", "trained_here"]

HASH_SEED = "20260101"
TIMEOUT_S = 240.0
"""Starting a process that imports torch takes long on a machine that is busy."""


@cache
def _pool() -> ProcessPoolExecutor:
    """One process for all checks; it ends with this one."""
    before = os.environ.get("PYTHONHASHSEED")
    os.environ["PYTHONHASHSEED"] = HASH_SEED
    try:
        pool = ProcessPoolExecutor(1, mp_context=get_context("spawn"))
        pool.submit(int).result(TIMEOUT_S)  # it starts here, while the variable is set
    finally:
        if before is None:
            del os.environ["PYTHONHASHSEED"]
        else:
            os.environ["PYTHONHASHSEED"] = before
    return pool


def _train(pickled: bytes, threads: int) -> str:
    torch.set_num_threads(threads)
    algorithm, net = pickle.loads(pickled)
    bench = RuleOnNet.start(algorithm, net, seed=3)
    bench.all_phases([8, 5])
    return fingerprint(bench.tensors())


def trained_here(algorithm: Algorithm, net: Chain) -> str:
    """Fingerprint of net and state after a few steps from a fixed seed."""
    return _train(pickle.dumps((algorithm, net)), torch.get_num_threads())


def trained_elsewhere(algorithm: Algorithm, net: Chain) -> str:
    """The same from the other process, with as many threads; rule and net must be importable there."""
    return _pool().submit(_train, pickle.dumps((algorithm, net)), torch.get_num_threads()).result(TIMEOUT_S)
