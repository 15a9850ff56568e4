"""What is done before the graph of stages begins: the file is there, and it is known what the model is told."""

__all__: list[str] = []

__all__ = ["bring", "prompt"]
