"""What a stream's audio goes through: where speech is, what is said, what of it is certain, in another language."""

__all__ = ["endpoints", "finals", "hearing", "lead", "recogniser", "tape", "translating"]
