"""The resident processes: a manager, an engine host per model, and its workers."""
