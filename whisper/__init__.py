"""Audio samples in, tokens and times out: the engine, its processes and its models. Knows no job, HTTP or bucket."""

from pathlib import Path

DATA = Path(__file__).parent / "data"
"""What is bundled: the demo model (`models`), the VAD model, sample recordings, the sources of the engine's build."""

DEMO_MODEL = DATA / "models" / "ggml-demo.bin"
VAD_MODEL = DATA / "ggml-silero-v6.2.0.bin"
SPEAKER_MODELS = DATA / "speakers" / "segmentation.onnx", DATA / "speakers" / "embedding.onnx"

__all__ = [
    "DATA",
    "DEMO_MODEL",
    "SPEAKER_MODELS",
    "VAD_MODEL",
    "download",
    "engine",
    "enhance",
    "host",
    "library",
    "models",
    "speakers",
    "translation",
    "types",
    "vad",
    "wire",
    "workshop",
]
