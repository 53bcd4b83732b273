"""The layer-local family and its variants, held to the contract."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from bpfree.algorithms import Algorithm, CascadedForward, DeepSupervision, ForwardForward, LocalSimilarity, SpatialGoodness
from bpfree.nets import Chain
from bpfree.testing import AlgorithmContract
from bpfree.testing.bench import BLOCK_KINDS, IN_SHAPE, N_CLASSES, WIDTHS

DENSE = {"dense": BLOCK_KINDS["dense"]}
FOREIGN = {"foreign": BLOCK_KINDS["foreign"]}
FEW = DENSE | FOREIGN  # variants of a rule whose plain form is checked on every kind
COUPLED = "examples of a batch are coupled"
LAST_PHASE = "the check steps in the last phase: blocks keep all activities while they learn, predictors need none"


class TestDeepSupervision(AlgorithmContract):
    rules = (
        DeepSupervision(),
        DeepSupervision(readout="sum", aux_weight=0.2, maths="autograd"),
    )

    def backprop_twin(self) -> Chain:
        """One block has no auxiliary head: what is left is backprop with the output's bias at zero."""
        return self.make_net(widths=(9,))


class TestSpatialGoodness(AlgorithmContract):
    rules = (
        SpatialGoodness(),
        SpatialGoodness(readout="last", maths="autograd", weight_decay=0.1),
    )


class TestLocalSimilarity(AlgorithmContract):
    exceptions = {"test_ragged_batch_keeps_mean_semantics": COUPLED}

    rules = (
        LocalSimilarity(),
        LocalSimilarity(similarity_map="none", readout="sum", maths="autograd"),
    )


class TestCascadedForward(AlgorithmContract):
    matters_with = {
        "ridge": {"predictor": "ridge"},
        "block_lr": {"blocks": "dfa"},
        "block_weight_decay": {"blocks": "dfa"},
    }

    rules = (
        CascadedForward(),
        CascadedForward(predictor="sparsemax", predictors="staged", combine="logits"),
    )


class TestCascadedForwardRidge(AlgorithmContract):
    block_kinds = FEW
    matters_with = {
        "lr": {"predictor": "cross-entropy"},
        "weight_decay": {"predictor": "cross-entropy"},
        "momentum": {"predictor": "cross-entropy", "optimiser": "sgd"},
        "block_lr": {"blocks": "dfa"},
        "block_weight_decay": {"blocks": "dfa"},
    }
    exceptions = {
        "test_loss_falls_on_one_batch": "a step only gathers sums; the predictor is solved for at the end of a pass",
    }

    rules = (CascadedForward(predictor="ridge", sums="float64"),)


class TestCascadedForwardByFeedback(AlgorithmContract):
    block_kinds = DENSE
    matters_with = {"ridge": {"predictor": "ridge"}}
    exceptions = {"test_memory_and_depth": LAST_PHASE}

    rules = (
        CascadedForward(blocks="dfa"),
        CascadedForward(blocks="dfa", predictors="staged"),
    )


class TestCascadedForwardByFeedbackForeign(TestCascadedForwardByFeedback):
    block_kinds = FOREIGN
    exceptions = {
        "test_memory_and_depth": LAST_PHASE,
        "test_no_backprop": "autograd inside a block while blocks learn, none while predictors do",
    }


class TestForwardForwardLosses(AlgorithmContract):
    block_kinds = FEW
    easy_params = {"lr": 1e-2}
    floors = {"blobs": 0.95, "digits": 0.8}
    matters_with = {
        "threshold": {"loss": "logistic"},
        "temperature": {"loss": "logistic"},
        "head_lr": {"inference": "head"},
        "head_weight_decay": {"inference": "head"},
    }

    rules = (ForwardForward(loss="symba", goodness="mean"),)


class TestForwardForwardPeers(AlgorithmContract):
    block_kinds = FEW
    easy_params = {"lr": 1e-2}
    floors = {"blobs": 0.95, "digits": 0.8}
    matters_with = {
        "alpha": {"loss": "symba"},
        "head_lr": {"inference": "head"},
        "head_weight_decay": {"inference": "head"},
    }
    exceptions = {"test_ragged_batch_keeps_mean_semantics": COUPLED + " by the running mean"}

    rules = (ForwardForward(peer_normalisation=0.03),)


class TestForwardForwardHead(AlgorithmContract):
    block_kinds = FEW
    easy_params = {"lr": 1e-2}
    floors = {"blobs": 0.9, "digits": 0.75}
    matters_with = {"alpha": {"loss": "symba"}}
    exceptions = {"test_memory_and_depth": "the head reads the activity of every voting block"}

    rules = (
        ForwardForward(inference="head"),
        ForwardForward(inference="head", goodness_blocks="all", maths="autograd"),
    )


class TestForwardForwardHard(AlgorithmContract):
    block_kinds = FEW
    easy_params = {"lr": 2e-2}
    floors = {"blobs": 0.9, "digits": 0.75}
    matters_with = {"alpha": {"loss": "symba"}}

    rules = (ForwardForward(negatives="hard", head_lr=0.3),)


class TestForwardForwardHybrid(AlgorithmContract):
    """Images of one channel; no class is seen while blocks learn."""

    block_kinds = FEW
    easy_params = {"lr": 1e-2}
    floors = {"blobs": 0.9, "digits": 0.75}
    matters_with = {"alpha": {"loss": "symba"}}
    exceptions = {
        "test_memory_and_depth": "the head reads the activity of every voting block",
        "test_order_within_a_batch_does_not_matter": COUPLED + ": an image is mixed with another one",
        "test_ragged_batch_keeps_mean_semantics": COUPLED + ": an image is mixed with another one",
        "test_golden_trajectory": "that net takes no images",
    }

    rules = (ForwardForward(negatives="hybrid", inference="head"),)

    @pytest.mark.parametrize("task", ["digits"])  # blobs are no images
    def test_learns_an_easy_task(self, algorithm: Algorithm, task: str) -> None:
        super().test_learns_an_easy_task(algorithm, task)

    def make_net(
        self,
        block_kind: str | None = None,
        *,
        in_shape: tuple[int, ...] = IN_SHAPE,
        widths: Sequence[int] = WIDTHS,
        n_classes: int = N_CLASSES,
    ) -> Chain:
        images = in_shape if len(in_shape) == 3 else (1, 1, *in_shape)[-3:]
        return super().make_net(block_kind, in_shape=images, widths=widths, n_classes=n_classes)
