"""A server of the Model Context Protocol: tools by which assistants use a running service. Needs the extra `mcp`."""

__all__ = ["folders", "server"]
