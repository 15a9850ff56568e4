"""What is made of a job's audio for players, by programs of their own: a form they can play, and how loud it is."""

__all__ = ["encoding", "forms", "measuring", "peaks", "programs", "renditions"]
