"""What is made on this machine: libwhisper built, models quantised, both measured."""

__all__ = ["build", "measure", "quantize"]
