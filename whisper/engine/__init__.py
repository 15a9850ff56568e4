"""What the rest of the service calls: the shared transcriber and the engines behind it."""

__all__ = [
    "cli_engine",
    "cli_queue",
    "host_client",
    "host_diarizer",
    "host_engine",
    "host_enhancer",
    "manager_process",
    "sherpa_diarizer",
    "transcriber",
]
