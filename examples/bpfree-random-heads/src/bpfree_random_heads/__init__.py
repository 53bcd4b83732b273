"""A learning rule of bpfree in a package of its own."""

from bpfree_random_heads.rule import RandomHeads

__all__ = ["RandomHeads"]
