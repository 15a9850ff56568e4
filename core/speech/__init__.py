"""From samples to the plan of chunks: where speech is, and where it may be cut."""

__all__ = [
    "chunks",
    "planner",
    "quiet_speech",
    "regions",
    "speech_edges",
    "strategies",
    "uncertain_speech",
    "word_edges",
]
