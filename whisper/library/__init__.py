"""libwhisper in this process: found, tested, loaded, and asked for the text of one chunk."""

__all__ = ["alignment", "inference", "libraries", "libwhisper", "phrases", "selftest", "word_times"]
