"""`/api/v1/parallel`: an older interface for diarization services, whose clients go on."""

__all__ = ["errors", "routes"]
