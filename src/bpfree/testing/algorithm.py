"""The contract of a learning rule: what every rule, of this package or of another, is held to.

A contributor writes

    class TestMyRule(AlgorithmContract):
        rules = (MyRule(), MyRule(schedule="staged"))

and inherits every check. A rule that cannot be held to one says so by name, with the reason:

        exceptions = {"test_order_within_a_batch_does_not_matter": "its noise is drawn by place in the batch"}
"""

from __future__ import annotations

import pytest

from bpfree.algorithms import Algorithm
from bpfree.testing._costs import Costs
from bpfree.testing._mathematics import Mathematics
from bpfree.testing._persistence import Persistence
from bpfree.testing._place import Place
from bpfree.testing.docstrings import problems, run_example

__all__ = ["AlgorithmContract"]


class AlgorithmContract(Mathematics, Place, Persistence, Costs):
    """Every check of a rule; subclass it and name the ``rules``. What can be set: see ``ContractSetting``."""

    def test_docstring_has_every_section(self, algorithm: Algorithm) -> None:
        """The docstring has every section, a row for every hyper-parameter, every default with its source, and BibTeX."""
        wrong = problems(type(algorithm))
        assert not wrong, "; ".join(wrong)

    @pytest.mark.filterwarnings("ignore:.*too few to learn at usual learning rates")
    def test_docstring_example_runs(self, algorithm: Algorithm) -> None:
        """The doctest of the docstring passes."""
        failed = run_example(type(algorithm))
        assert not failed, failed
