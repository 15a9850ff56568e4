"""Whisper by libwhisper: text and language of chunks of speech, in forked workers that share the weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

from core.audio.samples import SAMPLE_RATE
from core.errors import EngineUnavailable, ModelInvalid
from whisper.library.alignment import alignment_of
from whisper.library.inference import BadChunk, Inference, Samples
from whisper.library.libraries import candidates
from whisper.library.libwhisper import LibraryUnusable, LibWhisper
from whisper.library.selftest import choose_library
from whisper.models.sizes import size_of
from whisper.types import LONGEST
from whisper.wire.kind import SHARES_CORES, Model, Op, Reply, Request, Setup
from whisper.wire.process import give_back_memory, keep_memory

SAMPLE_BYTES = 4
"""The payload is mono PCM at 16 kHz as f32le: the client converts (half a millisecond with numpy, 23 ms without it in
the worker, which stays free of numpy's memory)."""
FIRST_SECONDS = 1200.0
"""Of the first chunk: the largest model on one old core, with beam search and all rungs of the ladder (estimated)."""


class WhisperKind:
    """Files: one ggml model. Devices: the CPU."""

    name = "whisper"
    ops: Mapping[str, Op] = {
        # a second more than the model takes: what is too long is refused by who counts samples
        "transcribe": Op(payload=SAMPLE_BYTES * (LONGEST + SAMPLE_RATE), seconds=FIRST_SECONDS),
        "detect": Op(payload=SAMPLE_BYTES * (LONGEST + SAMPLE_RATE), seconds=FIRST_SECONDS),
    }
    forks = True

    def worker_mb(self, files: Sequence[Path]) -> int:
        return size_of(_name(files)).worker_mb

    def prepare(self, files: Sequence[Path], setup: Setup) -> dict[str, str]:
        found = candidates(setup.library, setup.engine_dir)
        library = choose_library(found, files[0], setup.engine_dir)
        prepared = {"library": library.kind, "directory": str(library.directory)}
        return prepared | {SHARES_CORES: "yes"} if library.shares_cores else prepared

    def load(self, files: Sequence[Path], device: str, prepared: Mapping[str, str], *, debug: bool) -> Model:
        try:
            lib = LibWhisper(Path(prepared["directory"]), debug=debug)
            context = lib.load_model(files[0])
            return _Whisper(lib, context, name=_name(files))
        except LibraryUnusable as error:
            raise EngineUnavailable(str(error)) from error
        except ValueError as error:
            raise ModelInvalid(str(error)) from error


class _Whisper(Model):
    def __init__(self, lib: LibWhisper, context: int, *, name: str) -> None:
        self.version = lib.version
        alignment = alignment_of(lib, context, name=name)

        @cache
        def inference(threads: int) -> Inference:
            return Inference(lib, context, threads=threads, alignment=alignment)

        self._inference = inference
        self._keeps = False

    def serve(self, request: Request) -> Reply:
        self._keep(bool(request.options.get("fit_context")))
        count, rest = divmod(request.length, SAMPLE_BYTES)
        if rest:
            raise BadChunk("the payload is not a whole number of f32 samples")
        samples = Samples(count)
        request.read(samples.bytes())
        inference = self._inference(request.threads)
        if request.op == "detect":
            return Reply(body=inference.detect_language(samples))
        return Reply(body=inference.transcribe(samples, request.options))

    def rest(self) -> None:
        self._keep(False)

    def _keep(self, wanted: bool) -> None:
        """Short chunks keep the memory of the last one: new pages for each state would be a seventh of their time, and a
        full one's are large."""
        if wanted != self._keeps:
            (keep_memory if wanted else give_back_memory)()
            self._keeps = wanted


def _name(files: Sequence[Path]) -> str:
    """Of the model, as settings and jobs call it."""
    return files[0].stem.removeprefix("ggml-")
