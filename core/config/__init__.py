"""Every setting of the service: what there is, where it is read from, how it is written."""

__all__ = ["files", "loading", "settings", "translation", "units"]
