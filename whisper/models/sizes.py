"""What models of one size cost: memory for the plan of workers, and time until the machine's own speed is known."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class ModelSize:
    """All models of one architecture, whatever their language and quantisation."""

    #: weights in MB (10^6), f16: the published files' sizes
    weights_mb: int
    #: private memory of one forked worker in MB while it decodes (measured for base, small and medium, estimated else)
    worker_mb: int
    #: seconds of wall per second of audio on one slow core: 4-5 times what one core of 2020 takes
    pace: float


SIZES = {
    "demo": ModelSize(weights_mb=19, worker_mb=50, pace=0.1),
    "tiny": ModelSize(weights_mb=77, worker_mb=80, pace=0.2),
    "base": ModelSize(weights_mb=147, worker_mb=100, pace=0.4),
    "small": ModelSize(weights_mb=487, worker_mb=170, pace=1.2),
    "medium": ModelSize(weights_mb=1533, worker_mb=315, pace=4.0),
    "turbo": ModelSize(weights_mb=1624, worker_mb=180, pace=6.0),
    "large": ModelSize(weights_mb=3094, worker_mb=470, pace=8.0),
}


def size_of(model: str) -> ModelSize:
    """The size that a model's name tells; that of `base` when it tells none."""
    name = model.removeprefix("local:")
    if "turbo" in name:
        return SIZES["turbo"]
    return next((size for word, size in SIZES.items() if name.startswith(word)), SIZES["base"])
