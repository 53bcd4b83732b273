"""What a contributor sets, and the fixtures that every check of a rule takes."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch

from bpfree.algorithms import Algorithm, has_closed_form
from bpfree.nets import Chain
from bpfree.testing.bench import BLOCK_KINDS, IN_SHAPE, N_CLASSES, WIDTHS, BlockMaker, chain
from bpfree.testing.golden import label

__all__ = ["ContractSetting"]


class ContractSetting:
    """Class attributes to override, and fixtures. The checks are in the classes that derive from this one."""

    rules: ClassVar[Sequence[Algorithm[Any]]] = ()
    """The rule to check, in each setting of hyper-parameters that is to be checked. A class may write a fixture ``algorithm``
    instead."""

    block_kinds: ClassVar[Mapping[str, BlockMaker]] = BLOCK_KINDS
    """Kinds of blocks that the rule can train; the first stands for all where a check is slow."""

    dtypes: ClassVar[Sequence[torch.dtype]] = (torch.float32, torch.float64, torch.bfloat16)
    """Number formats that the rule admits; float64 is needed by the proofs."""

    floors: ClassVar[Mapping[str, float]] = {"blobs": 0.95, "digits": 0.85}
    """Least validation accuracy on the two easy tasks."""

    easy_params: ClassVar[Mapping[str, Any]] = {"lr": 3e-3}
    """Hyper-parameters for the easy tasks, where the rule's defaults are made for large sets."""

    easy_passes: ClassVar[int] = 12
    """Passes over the training split of an easy task, for each phase."""

    matters_with: ClassVar[Mapping[str, Mapping[str, Any]]] = {}
    """Numeric hyper-parameter to the structural choices under which alone it is read, such as
    ``{"alpha": {"loss": "swish"}}``; that of ``momentum`` (sgd) is known."""

    exceptions: ClassVar[Mapping[str, str]] = {}
    """Check to reason: checks that the rule cannot be held to. Such a check must fail: an exception that is not needed is
    an error."""

    golden_dir: ClassVar[Path | None] = None
    """Where golden trajectories lie; by default ``golden/`` beside the test file."""

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        for check, reason in cls.exceptions.items():
            if not callable(getattr(cls, check, None)) or not check.startswith("test_"):
                raise TypeError(f"{cls.__name__}.exceptions names {check!r}, which is no check of the contract")
            if not reason.strip():
                raise TypeError(f"{cls.__name__}.exceptions gives no reason for {check}")

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """Run a check for each rule, kind of block and number format that it takes."""
        names = metafunc.fixturenames
        if "algorithm" in names and self.rules:
            metafunc.parametrize("algorithm", self.rules, ids=[label(rule) for rule in self.rules])
        if "block_kind" in names:
            metafunc.parametrize("block_kind", list(self.block_kinds))
        if "closed_kind" in names:
            closed = [kind for kind, maker in self.block_kinds.items() if has_closed_form(maker((3,), 2))]
            metafunc.parametrize("closed_kind", closed)
        if "dtype" in names:
            metafunc.parametrize("dtype", self.dtypes, ids=lambda dtype: str(dtype).removeprefix("torch."))

    @pytest.fixture
    def algorithm(self) -> Algorithm:
        """The rule to check."""
        raise NotImplementedError(
            f"{type(self).__name__} names no rule to check; write rules = (MyRule(),) in the class, or a fixture `algorithm`"
        )

    @pytest.fixture(autouse=True)
    def _named_exceptions(self, request: pytest.FixtureRequest) -> None:
        reason = self.exceptions.get(request.function.__name__)
        if reason is not None:
            request.applymarker(pytest.mark.xfail(reason=reason, strict=True))

    def make_net(
        self,
        block_kind: str | None = None,
        *,
        in_shape: tuple[int, ...] = IN_SHAPE,
        widths: Sequence[int] = WIDTHS,
        n_classes: int = N_CLASSES,
    ) -> Chain:
        """A net of one kind of blocks (by default the first); override it for rules that need other nets."""
        kinds = self.block_kinds
        return chain(kinds[next(iter(kinds)) if block_kind is None else block_kind], in_shape, widths, n_classes)

    def backprop_twin(self) -> Chain | None:
        """A net on which the rule is backprop in disguise, if theory knows one; override it to state the theorem."""
        return None

    def golden_folder(self) -> Path:
        """:attr:`golden_dir`, or ``golden/`` beside the file of the class."""
        return self.golden_dir or Path(inspect.getfile(type(self))).parent / "golden"
