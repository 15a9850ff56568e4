"""From segments to subtitles: what is on the screen at once, in which lines, from when to when, and as which text."""

__all__ = ["cue_times", "writers"]
