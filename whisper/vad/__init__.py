"""Speech detection: Silero VAD in numpy."""
