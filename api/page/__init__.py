"""The page at `/`: files of its own, made of plain modules and styles. It asks for nothing but what the API offers to all."""

__all__ = ["files"]
