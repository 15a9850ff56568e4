"""What people see: tables, progress, transcripts on stdout or in files."""

__all__ = ["outputs", "progress", "render", "streams"]
