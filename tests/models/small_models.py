"""Rules with every readout, and models of them a few steps old."""

from __future__ import annotations

import warnings

import torch

from bpfree import nets
from bpfree.algorithms import Algorithm, NotOrthogonalWarning, make, names
from bpfree.models import Model
from bpfree.testing.bench import RuleOnNet

VARIANTS = (
    "mono-forward:readout=sum",
    "mono-forward:readout=best-prefix",
    "mono-forward:schedule=staged",
    "mono-forward:raw_projection=true",
    "forward-forward:inference=head",
    "forward-forward:negatives=hard",
    "cascaded-forward:combine=logits",
    "cascaded-forward:predictor=ridge",
    "cascaded-forward:predictor=sparsemax",
    "cascaded-forward:blocks=dfa",
    "deep-supervision:readout=sum",
    "local-similarity:readout=sum",
    "spatial-goodness:readout=last",
)
ARMS = (*names(), *VARIANTS)
IN_SHAPE, N_CLASSES, SPEC = (12,), 4, "mlp:9-7"


def rule_of(arm: str) -> Algorithm:
    """``name:key=value`` to the rule."""
    name, *pairs = arm.split(":")
    return make(name, dict(pair.split("=") for pair in pairs))


def trained(arm: str, spec: str = SPEC, in_shape: tuple[int, ...] = IN_SHAPE, dtype: torch.dtype = torch.float32) -> Model:
    """A model of a rule on a small net, after a few steps in each phase."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotOrthogonalWarning)
        bench = RuleOnNet.start(rule_of(arm), nets.build(spec, in_shape, N_CLASSES).to(dtype))
    bench.all_phases([16, 16, 5])
    bench.net.eval()
    return Model(bench.algorithm, bench.net, bench.state, bench.last_phase)
