"""How model files get here: from addresses, buckets and packages of the Python index, verified."""

__all__ = ["carriers", "downloader", "fetch", "packages", "part", "sources"]
