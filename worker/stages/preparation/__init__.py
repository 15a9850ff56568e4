"""What is done before the graph of stages begins: the file is there, what a stream has said of it, and what the model is told."""

__all__ = ["bring", "finals_of_stream", "prompt"]
