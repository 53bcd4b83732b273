"""What is set before a measurement."""

from __future__ import annotations

import pytest
import torch

from bpfree.bench import environment


def test_convolutions_are_float32_in_full_as_products_are(monkeypatch: pytest.MonkeyPatch) -> None:
    """torch's default rounds a convolution's factors to TF32 on a GPU, not a matrix product's."""
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", True)
    environment.configure_torch(10, 10, torch.device("cuda"))
    assert not torch.backends.cudnn.allow_tf32
    assert torch.get_float32_matmul_precision() == "highest"
