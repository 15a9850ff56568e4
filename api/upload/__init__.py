"""One upload on its way in: the form, its fields and its file."""

__all__ = ["filepart", "form", "idempotency", "json_body", "named", "parts", "received", "receiver", "tus"]
