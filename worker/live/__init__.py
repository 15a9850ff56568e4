"""Live streams, from bytes as they come to finals: one process, beside the engine of its consumer."""

__all__ = ["container", "intake", "parts", "pipeline", "serving", "stages"]
