"""The mutations: Cosmic Ray's operators that make sense here, and three of our own.

Left out of Cosmic Ray's operators:

- arithmetic replaced by unrelated arithmetic (``+`` by ``>>``): always caught, so it hides what is not caught;
- ``==`` replaced by ``is``: the same for small numbers;
- decorators removed: ``final`` and ``override`` change nothing at run time.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import parso
from cosmic_ray.operators.operator import Example, Operator
from cosmic_ray.plugins import get_operator

__all__ = ["DropStatement", "OppositeFunction", "SwapArguments", "operators"]

_ARITHMETIC = (
    "Add_Sub",
    "Sub_Add",
    "Mul_Div",
    "Div_Mul",
    "FloorDiv_Div",
    "Mod_FloorDiv",
    "Pow_Mul",
    "BitOr_BitAnd",
    "BitAnd_BitOr",
)
_COMPARISONS = (
    *("Eq_NotEq", "NotEq_Eq", "Is_IsNot", "IsNot_Is"),
    *("Lt_LtE", "LtE_Lt", "Gt_GtE", "GtE_Gt"),  # strict for not strict
    *("Lt_GtE", "GtE_Lt", "Gt_LtE", "LtE_Gt"),  # the opposite
)
_OTHERS = (
    *("AddNot", "NumberReplacer", "ReplaceAndWithOr", "ReplaceOrWithAnd", "ReplaceTrueWithFalse", "ReplaceFalseWithTrue"),
    *("ReplaceBreakWithContinue", "ReplaceContinueWithBreak", "ZeroIterationForLoop", "ExceptionReplacer"),
    *("ReplaceUnaryOperator_Delete_USub", "ReplaceUnaryOperator_Delete_Not"),
)


def _both(pairs: dict[str, str]) -> dict[str, str]:
    return pairs | {second: first for first, second in pairs.items()}


OPPOSITES = {
    **_both({"min": "max", "any": "all", "floor": "ceil", "mean": "median", "argmax": "argmin"}),
    "sum": "max",
}
SYMMETRIC = {"min", "max", "isclose", "allclose", "equal", "zip", "isinstance", "hasattr"}
"""Functions whose first two arguments are not swapped: the result is the same, or an error at once."""


class OppositeFunction(Operator):
    """Call another function: ``max`` for ``min``, ``median`` for ``mean``."""

    def mutation_positions(self, node: Any) -> Iterator[tuple[tuple[int, int], tuple[int, int]]]:
        if node.type == "name" and node.value in OPPOSITES and _is_call(node.get_next_sibling(), node):
            yield node.start_pos, node.end_pos

    def mutate(self, node: Any, index: int) -> Any:
        node.value = OPPOSITES[node.value]
        return node

    @classmethod
    def examples(cls) -> tuple[Example, ...]:
        return (Example("min(a)", "max(a)"), Example("x.mean(1)", "x.median(1)"))


class SwapArguments(Operator):
    """Swap the first two positional arguments of a call: a ratio upside down."""

    def mutation_positions(self, node: Any) -> Iterator[tuple[tuple[int, int], tuple[int, int]]]:
        several = node.type == "arglist" and len(node.children) > 2  # ``f(a,)`` has two: the argument and its comma
        if several and node.parent.type == "trailer" and _called(node.parent) not in SYMMETRIC:
            first, second = node.children[0], node.children[2]
            if all(child.type not in ("argument", "number", "string") for child in (first, second)):
                yield first.start_pos, second.end_pos

    def mutate(self, node: Any, index: int) -> Any:
        first, _comma, second, *others = node.children
        swapped = [second.get_code(include_prefix=False), ", ", first.get_code(include_prefix=False)]
        replacement = parso.parse(first.get_first_leaf().prefix + "".join(swapped)).children[0]
        node.children = [replacement, *others]
        return node

    @classmethod
    def examples(cls) -> tuple[Example, ...]:
        return (Example("ratio(a, b[0], c=1)", "ratio(b[0], a, c=1)"),)


class DropStatement(Operator):
    """Leave a statement out: a call whose result nobody reads, an assignment to an item, an update in place."""

    def mutation_positions(self, node: Any) -> Iterator[tuple[tuple[int, int], tuple[int, int]]]:
        if node.type == "simple_stmt" and _has_effect(node.children[0]):
            yield node.children[0].start_pos, node.children[0].end_pos

    def mutate(self, node: Any, index: int) -> Any:
        prefix = node.get_first_leaf().prefix
        node.children[0] = parso.parse(prefix + "pass")
        return node

    @classmethod
    def examples(cls) -> tuple[Example, ...]:
        return (Example("f(1)\n", "pass\n"), Example("a[0] = 1\n", "pass\n"), Example("a += 1\n", "pass\n"))


def _is_call(sibling: Any, node: Any) -> bool:
    """True if a name is followed by parentheses: ``f(...)`` or ``x.f(...)``."""
    trailer = node.parent.get_next_sibling() if node.parent.type == "trailer" else sibling
    return trailer is not None and trailer.type == "trailer" and trailer.children[0].value == "("


def _called(trailer: Any) -> str:
    """Name of the function that a pair of parentheses calls."""
    before = trailer.get_previous_sibling()
    return "" if before is None else before.get_last_leaf().value


def _has_effect(statement: Any) -> bool:
    if statement.type in ("atom_expr", "power"):
        return True
    if statement.type != "expr_stmt":
        return False
    target, sign = statement.children[:2]
    plain = sign.type == "operator" and sign.value == "="
    augmented = sign.type == "operator" and sign.value != "="
    return augmented or (plain and target.type in ("atom_expr", "power"))


def operators() -> dict[str, Operator]:
    """Every operator by its name."""
    names = [f"ReplaceBinaryOperator_{pair}" for pair in _ARITHMETIC]
    names += [f"ReplaceComparisonOperator_{pair}" for pair in _COMPARISONS]
    theirs = {name: get_operator(f"core/{name}")() for name in (*names, *_OTHERS)}
    ours = {kind.__name__: kind() for kind in (OppositeFunction, SwapArguments, DropStatement)}
    return theirs | ours
