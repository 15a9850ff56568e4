"""HTTP for every route alike: what surrounds a request, problems, metrics, readiness, the parser."""

__all__ = ["downloads", "json_body", "metrics", "middleware", "problems", "protocol", "readiness", "storage"]
