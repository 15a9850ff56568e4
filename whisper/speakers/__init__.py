"""Who speaks when: from samples to turns, by two small networks and arithmetic in between."""

__all__ = ["diarizer", "frames", "known", "networks", "pipeline", "sherpa", "voices"]
