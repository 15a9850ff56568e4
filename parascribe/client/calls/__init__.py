"""What can be asked of the service, by noun, each call written once: `AsyncClient` has them as they are, `Client` without a loop."""

__all__ = ["batches", "changing", "following", "uploading", "voices", "webhooks"]
