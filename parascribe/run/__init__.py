"""The service as processes: settings made into parts, parts into programs, programs kept running."""

__all__ = ["live_parts", "local", "parts", "runtime", "services", "translators", "wiring"]
