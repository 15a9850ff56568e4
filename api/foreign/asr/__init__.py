"""The interface of whisper-asr-webservice, which media managers (Bazarr) and Subgen speak."""

__all__ = ["errors", "routes"]
