"""What models of one size cost in memory."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class ModelSize:
    """All models of one architecture, whatever their language and quantisation."""

    #: weights in MB (10^6), f16: the published files' sizes
    weights_mb: int
    #: private memory of one forked worker in MB while it decodes (measured for base, small and medium, estimated else)
    worker_mb: int


SIZES = {
    "demo": ModelSize(weights_mb=19, worker_mb=50),
    "tiny": ModelSize(weights_mb=77, worker_mb=80),
    "base": ModelSize(weights_mb=147, worker_mb=100),
    "small": ModelSize(weights_mb=487, worker_mb=170),
    "medium": ModelSize(weights_mb=1533, worker_mb=315),
    "turbo": ModelSize(weights_mb=1624, worker_mb=180),
    "large": ModelSize(weights_mb=3094, worker_mb=470),
}


def size_of(model: str) -> ModelSize:
    """The size that a model's name tells; that of `base` when it tells none."""
    name = model.removeprefix("local:")
    if "turbo" in name:
        return SIZES["turbo"]
    return next((size for word, size in SIZES.items() if name.startswith(word)), SIZES["base"])
