"""The service as processes: settings made into parts, parts into programs, programs kept running."""

__all__ = ["local", "runtime", "services", "translators", "wiring"]
