"""The mutants of a module, and a sample of them that stays the same while other lines are edited."""

from __future__ import annotations

import ast
import difflib
import hashlib
import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from cosmic_ray.ast import ast_nodes, get_ast
from cosmic_ray.mutating import mutate_code

from tools.mutation.operators import operators

__all__ = ["Candidate", "Mutant", "candidates", "make", "sample"]

Position = tuple[int, int]
_DULL = {"name", "string", "newline", "endmarker", "fstring_string", "fstring_start", "fstring_end"}
_PUNCTUATION = set("()[]{},.:;=@") | {"->", ":="}


@dataclass(frozen=True)
class Candidate:
    """A place in a file where an operator applies; the mutated text is not made yet."""

    path: Path
    operator: str
    occurrence: int
    start: Position
    """Line (from 1) and column (from 0)."""
    text: str
    """The line, stripped."""

    def rank(self, seed: int, *, by_operator: bool) -> str:
        """A pseudo-random key that depends on the seed, the file and the line's text alone, not on its number."""
        parts = [seed, self.path, self.text, self.start[1], *([self.operator, self.occurrence] if by_operator else [])]
        return hashlib.sha256("\0".join(map(str, parts)).encode()).hexdigest()


@dataclass(frozen=True)
class Mutant:
    """One changed module."""

    path: Path
    line: int
    before: str
    """The changed lines, stripped, joined by a space."""
    after: str
    code: str
    """Text of the whole mutated module."""

    @property
    def place(self) -> str:
        return f"{self.path}:{self.line}"


def candidates(path: Path, root: Path) -> Iterator[Candidate]:
    """Every place of a module where an operator applies, annotations and ``__all__`` left out.

    Args:
        path: The module, relative to ``root``.
        root: Directory of the project.
    """
    code = (root / path).read_text(encoding="utf-8")
    lines = code.splitlines()
    ignored = list(_ignored(code))
    # Only nodes that some operator can change: occurrence numbers do not depend on the others. Those of a signature are counted,
    # or the numbers of all behind them would be those of other places, and left out afterwards: a bare * is no product.
    nodes = [node for node in ast_nodes(get_ast(code)) if _may_change(node)]
    of_signatures = {node.start_pos for node in nodes if node.type == "operator" and node.parent.type in ("parameters", "param")}
    for name, operator in operators().items():
        positions = (position for node in nodes for position in operator.mutation_positions(node))
        for occurrence, (start, _) in enumerate(positions):
            if start not in of_signatures and not any(first <= start < last for first, last in ignored):
                yield Candidate(path, name, occurrence, start, lines[start[0] - 1].strip())


def _may_change(node: object) -> bool:
    kind = node.type  # type: ignore[attr-defined]
    if kind == "name":
        return node.get_next_sibling() is not None or node.parent.type == "trailer"  # type: ignore[attr-defined]
    if kind == "operator":
        return node.value not in _PUNCTUATION  # type: ignore[attr-defined]
    return kind not in _DULL


def _ignored(code: str) -> Iterator[tuple[Position, Position]]:
    """Places that change no result: annotations (never evaluated here), ``__all__``, and ``kw_only`` of data classes."""
    lines = code.splitlines()

    def at(line: int, byte: int) -> Position:
        return line, len(lines[line - 1].encode()[:byte].decode())

    for node in ast.walk(ast.parse(code)):
        parts: list[ast.AST | None] = []
        if isinstance(node, ast.AnnAssign | ast.arg):
            parts = [node.annotation]
        elif isinstance(node, ast.FunctionDef):
            parts = [node.returns]
        elif (isinstance(node, ast.keyword) and node.arg == "kw_only") or _is_for_type_checkers(node):
            parts = [node]
        for part in parts:
            if part is not None:
                yield at(part.lineno, part.col_offset), at(part.end_lineno, part.end_col_offset)  # type: ignore[attr-defined]


def _is_for_type_checkers(node: ast.AST) -> bool:
    if isinstance(node, ast.Assign):
        return ast.unparse(node.targets[0]) == "__all__"
    return isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"


def make(candidate: Candidate, root: Path) -> Mutant | None:
    """The mutant, or None if the result is no Python or means the same as before."""
    code = (root / candidate.path).read_text(encoding="utf-8")
    changed = mutate_code(code, operators()[candidate.operator], candidate.occurrence)
    if changed is None:
        return None
    try:
        if ast.dump(ast.parse(changed)) == ast.dump(ast.parse(code)):
            return None
    except SyntaxError:
        return None
    before, after = code.splitlines(), changed.splitlines()
    (_, first, last, start, end), *_ = [
        block for block in difflib.SequenceMatcher(None, before, after, autojunk=False).get_opcodes() if block[0] != "equal"
    ]
    return Mutant(candidate.path, first + 1, _joined(before[first:last]), _joined(after[start:end]), changed)


def _joined(lines: list[str]) -> str:
    return " ".join(" ".join(line.split()) for line in lines)


def sample(groups: dict[str, Iterable[Candidate]], size: int, seed: int, root: Path) -> dict[str, list[Mutant]]:
    """The same number of mutants from each group, at most one from each place.

    Args:
        groups: Candidates by package.
        size: Mutants in all; a group that has fewer leaves its share to the others.
        seed: Another seed, another sample.
        root: Directory of the project.
    """
    streams = {name: _shuffled(members, seed, root) for name, members in groups.items()}
    chosen: dict[str, list[Mutant]] = {name: [] for name in groups}
    while streams and size > 0:
        for name in list(streams):
            mutant = next(streams[name], None) if size > 0 else None
            if mutant is not None:
                chosen[name].append(mutant)
                size -= 1
            elif size > 0:
                del streams[name]
    return chosen


def _shuffled(members: Iterable[Candidate], seed: int, root: Path) -> Iterator[Mutant]:
    def place(candidate: Candidate) -> tuple[str, Path, Position]:
        return candidate.rank(seed, by_operator=False), candidate.path, candidate.start

    for _, at_one_place in itertools.groupby(sorted(members, key=place), place):
        ranked = sorted(at_one_place, key=lambda candidate: candidate.rank(seed, by_operator=True))
        made = (make(candidate, root) for candidate in ranked)
        mutant = next((each for each in made if each is not None), None)
        if mutant is not None:
            yield mutant
