"""One chunk through libwhisper: input guards, decoding, and our own reading of the tokens.

Runs in a forked worker and imports the standard library only. Every chunk gets a fresh `whisper_state`: a used
one carries random numbers, the last chunk's audio and its logits over into the next (15-60 ms well spent).
"""

from __future__ import annotations

import ctypes
import math
import time
import zlib
from contextlib import nullcontext
from typing import Any

from core.audio.samples import SAMPLE_RATE
from core.transcript.languages import UNSPACED
from core.transcript.values import FAILED_COMPRESSION, FAILED_LOGPROB
from whisper.library import word_times
from whisper.library.alignment import Alignment
from whisper.library.libwhisper import BEAM_SEARCH, GREEDY, LibWhisper
from whisper.library.phrases import Token, split_phrases, text_of
from whisper.types import LONGEST, SHORTEST
from whisper.wire.kind import BadInput, WorkFailed

_PADDED = SAMPLE_RATE  # below 1 s libwhisper up to 1.8.5 reads past its buffer (#3956)
_MAX_DECODERS = 8
_BEST_OF = 2
_TEMPERATURE_STEP = 0.4
_PROMPT_TOKENS = 224
_STATE_ALREADY_FREED = -7
_OPTIONS = frozenset(
    {"language", "task", "prompt", "temperature", "beam_size", "word_timestamps", "fit_context", "ladder"}
)
_FULL_CONTEXT, _LEAST_CONTEXT, _CONTEXT_STEP = 1500, 512, 64
_FRAMES = 50
"""Encoder positions per second. Below about 500 of them stock models loop or invent (whisper.cpp #1951, #1117, #1702)."""
_VOCAB_WITHOUT_LANGUAGES = 51_766
_LIKELY = 0.01
"""Languages below this probability are not worth telling."""


class BadChunk(BadInput):
    """The samples or options are not something to decode; the message says why."""


class DecodeFailed(WorkFailed):
    """libwhisper gave up on the chunk."""


class Samples:
    """Room for n samples of f32 at 16 kHz, padded with silence to a second. Raises BadChunk for a bad length."""

    def __init__(self, n: int) -> None:
        if not SHORTEST <= n <= LONGEST:
            raise BadChunk(f"a chunk must have 0.1 to 30 s of audio, this one has {n / SAMPLE_RATE:.3f} s")
        self.n = n
        self.padded = max(n, _PADDED)
        self.floats = (ctypes.c_float * self.padded)()

    @property
    def seconds(self) -> float:
        """True length, without the padding."""
        return self.n / SAMPLE_RATE

    def bytes(self) -> memoryview:
        """Where the payload is to be received."""
        return memoryview(self.floats).cast("B")[: 4 * self.n]

    def release(self) -> None:
        """Free the room: with the spectrogram made, 1.8 MB that need not stay while the text is decoded."""
        self.floats = (ctypes.c_float * 0)()

    def check(self) -> None:
        """Raises BadChunk when a sample is not finite (NaN decodes to 220 exclamation marks), or they are gone."""
        if len(self.floats) < self.padded:
            raise BadChunk("these samples were decoded before")
        if not math.isfinite(sum(self.bytes().cast("f"))):
            raise BadChunk("the audio has samples that are not finite")


class Inference:
    """Decodes chunks with one model.

    context: a model loaded without a state, shared by all forked workers; only `alignment` writes to a worker's own copy
    threads: per decode; OMP_NUM_THREADS does not limit it
    alignment: of this context; without one the times of words are shared out by length
    """

    def __init__(self, lib: LibWhisper, context: int, *, threads: int, alignment: Alignment | None = None) -> None:
        self._f = lib.f
        self._alignment = alignment
        self._context = context
        self._threads = threads
        self._multilingual = bool(lib.f.is_multilingual(context))
        # 99 languages, 100 since large-v3; an English-only model has none of their tokens (whisper.cpp, num_languages)
        count = lib.f.n_vocab(context) - _VOCAB_WITHOUT_LANGUAGES if self._multilingual else 0
        self._languages = [lib.f.lang_str(n).decode() for n in range(count)]

    def transcribe(self, samples: Samples, options: dict[str, Any]) -> dict[str, Any]:
        """Decode one chunk, whose samples are then gone; returns the JSON form of `whisper.types.ChunkTranscript`, but for `engine`.

        Raises BadChunk, DecodeFailed.
        """
        cpu, wall = time.process_time(), time.monotonic()
        samples.check()
        params = self._params(samples, options)
        if options.get("fit_context"):
            params.audio_ctx = fitted_context(samples.seconds)
        said = self._decode(samples, options, params)
        if params.audio_ctx and options.get("ladder", True) and _doubtful(said["segments"]):
            params.audio_ctx = 0
            said = self._decode(samples, options, params)
        return said | {"engine_seconds": time.process_time() - cpu, "wall_seconds": time.monotonic() - wall}

    def _decode(self, samples: Samples, options: dict[str, Any], params: Any) -> dict[str, Any]:
        timed_words = bool(options.get("word_timestamps"))
        # the words of a translation are not said one after the other
        alignment = self._alignment if timed_words and not params.translate else None
        quiet = word_times.pauses(samples.bytes().cast("f")) if alignment else []
        state, code = self._new_state(alignment), 0
        heard: list[tuple[float | None, dict[str, float]]] = []

        def listen(state: int) -> None:
            heard[:] = [self._evidence(state)]

        try:
            code = self._f.pcm_to_mel_with_state(self._context, state, samples.floats, samples.padded, self._threads)
            if not params.audio_ctx:
                samples.release()
            with alignment.timing(params, state, before=listen) if alignment else nullcontext():
                code = code or self._f.full_with_state(self._context, state, params, None, 0)
            if code:
                raise DecodeFailed(f"libwhisper could not decode the chunk (code {code})")
            if not heard:
                listen(state)
            language = self._f.lang_str(self._f.full_lang_id_from_state(state)).decode()
            tokens = self._tokens(state, lag=alignment.lag if alignment else 0.0)
        finally:
            if code != _STATE_ALREADY_FREED:
                self._f.free_state(state)
        ((no_speech, languages),) = heard
        phrases = split_phrases(tokens, self._f.token_beg(self._context), samples.seconds)
        ratio = compression_ratio(b"".join(t.data for p in phrases for t in p.tokens))
        spaced, seconds = params.translate or language not in UNSPACED, samples.seconds
        timed = (
            word_times.timed(phrases, spaced=spaced, quiet=quiet, seconds=seconds)
            if timed_words
            else [(p, []) for p in phrases]
        )
        return {
            "segments": [
                {
                    "start": p.start,
                    "end": p.end,
                    "timestamps": (phrase.start, phrase.end) if timed_words else None,
                    "text": text_of(p.tokens),
                    "avg_logprob": sum(t.plog for t in p.tokens) / len(p.tokens),
                    "compression_ratio": ratio,
                    "words": words,
                }
                for phrase, (p, words) in zip(phrases, timed, strict=True)
            ],
            "language": language,
            "languages": languages,
            "no_speech_prob": no_speech,
        }

    def detect_language(self, samples: Samples) -> dict[str, Any]:
        """One encoder pass and one token; returns the JSON form of `whisper.types.LanguageGuess`.

        Raises BadChunk, DecodeFailed.
        """
        cpu = time.process_time()
        samples.check()
        if not self._multilingual:
            return {"language": "en", "probability": 1.0, "probabilities": {"en": 1.0}, "engine_seconds": 0.0}
        probabilities = (ctypes.c_float * (self._f.lang_max_id() + 1))()
        state = self._new_state()
        try:
            code = self._f.pcm_to_mel_with_state(self._context, state, samples.floats, samples.padded, self._threads)
            best = (
                -1
                if code
                else self._f.lang_auto_detect_with_state(self._context, state, 0, self._threads, probabilities)
            )
        finally:
            self._f.free_state(state)
        if best < 0:
            raise DecodeFailed(f"libwhisper could not detect the language (code {code or best})")
        likely = {self._f.lang_str(i).decode(): p for i, p in enumerate(probabilities) if p > _LIKELY}
        return {
            "language": self._f.lang_str(best).decode(),
            "probability": probabilities[best],
            "probabilities": likely,
            "engine_seconds": time.process_time() - cpu,
        }

    def _new_state(self, alignment: Alignment | None = None) -> int:
        state: int | None = alignment.new_state() if alignment else self._f.init_state(self._context)
        if not state:
            raise DecodeFailed("libwhisper could not make a state: probably too little memory")
        return state

    def _params(self, samples: Samples, options: dict[str, Any]) -> Any:
        """Options to whisper_full_params. Anything not named here stays at the library's own default."""
        if unknown := options.keys() - _OPTIONS:
            raise BadChunk(f"unknown option {', '.join(sorted(unknown))}")
        beam, temperature = options.get("beam_size") or 1, options.get("temperature") or 0.0
        if not (isinstance(beam, int) and 1 <= beam <= _MAX_DECODERS):
            raise BadChunk(f"beam_size must be 1 to {_MAX_DECODERS}")
        if not (isinstance(temperature, int | float) and 0.0 <= temperature <= 1.0):
            raise BadChunk("temperature must be 0 to 1")
        params = self._f.full_default_params(BEAM_SEARCH if beam > 1 else GREEDY)
        if beam > 1:
            params.beam_size = beam
        params.best_of = _BEST_OF
        ladder = options.get("ladder", True)
        params.temperature, params.temperature_inc = temperature, _TEMPERATURE_STEP if ladder else 0.0
        params.n_threads = self._threads
        params.translate = self._translate(options.get("task") or "transcribe")
        params.language = self._language(options.get("language"))
        prompt = options.get("prompt") or ""
        if not isinstance(prompt, str):
            raise BadChunk("prompt must be a text")
        params.no_context = True
        params.n_max_text_ctx = _PROMPT_TOKENS if prompt else 0  # with 0 a prompt is ignored without a word
        params.initial_prompt = prompt.replace("\0", " ").encode("utf-8", "replace") or None
        params.single_segment = True  # else a short tail may cost a second encoder pass and its hallucinations
        params.suppress_nst = True
        params.print_progress = params.print_realtime = params.print_timestamps = params.print_special = False
        params.no_speech_thold = 1.0  # off: the library looks at the wrong logits (PR #3945); see _no_speech
        params.max_tokens = min(220, 24 + math.ceil(20 * samples.seconds))  # loops end here; no language is as dense
        return params

    def _translate(self, task: Any) -> bool:
        if task not in ("transcribe", "translate"):
            raise BadChunk(f"unknown task {task!r}")
        if task == "translate" and not self._multilingual:
            raise BadChunk("an English-only model cannot translate")
        return bool(task == "translate")

    def _language(self, language: Any) -> bytes:
        if language is None:
            return b"auto" if self._multilingual else b"en"
        if not isinstance(language, str) or self._f.lang_id(language.encode("utf-8", "replace")) < 0:
            raise BadChunk(f"unknown language {language!r}")
        if language != "en" and not self._multilingual:
            raise BadChunk("an English-only model knows no other language")
        return language.encode()

    def _tokens(self, state: int, *, lag: float) -> list[Token]:
        """Text and timestamp tokens in order; other specials are dropped. lag: of the alignment, in seconds."""
        f, eot, beg = self._f, self._f.token_eot(self._context), self._f.token_beg(self._context)
        found = []
        for segment in range(f.full_n_segments_from_state(state)):
            for position in range(f.full_n_tokens_from_state(state, segment)):
                data = f.full_get_token_data_from_state(state, segment, position)
                if data.id < eot or data.id >= beg:
                    text = f.token_to_str(self._context, data.id) if data.id < eot else b""
                    end = None if data.t_dtw < 0 else data.t_dtw / 100 - lag
                    found.append(Token(data.id, text or b"", data.p, data.plog, end))
        return found

    def _evidence(self, state: int) -> tuple[float | None, dict[str, float]]:
        """What the model hears before any text: the probability of <|nospeech|> and those of the languages.

        Both stand in the logits right after <|startoftranscript|>, as openai-whisper reads them (decoding.py,
        `detect_language` and `no_speech_probs`). The library's own no-speech figure reads a row of logits that was never
        computed; so decode that one token again on the encoder's output, which is still in the state (14 ms with base).
        The languages come with it, and do not depend on the one that the chunk was decoded in.
        """
        first = self._f.token_sot(self._context)
        if self._f.decode_with_state(self._context, state, (ctypes.c_int32 * 1)(first), 1, 0, self._threads):
            return None, {}
        logits = self._f.get_logits_from_state(state)[: self._f.n_vocab(self._context)]
        try:
            # plain sums: they are good to ten digits, and the logits of any real model are far from exp's limits
            no_speech = math.exp(logits[self._f.token_nosp(self._context)]) / sum(map(math.exp, logits))
            weights = {code: math.exp(logits[first + 1 + n]) for n, code in enumerate(self._languages)}
            total = sum(weights.values())
            likely = {code: round(weight / total, 4) for code, weight in weights.items() if weight / total > _LIKELY}
        except (OverflowError, ZeroDivisionError):
            return None, {}
        return no_speech, likely


def fitted_context(seconds: float) -> int:
    """Encoder positions for a chunk that long, with more than a second to spare; 0 = all of the model's 1500."""
    wanted = -(-(math.ceil(seconds * _FRAMES) + _CONTEXT_STEP) // _CONTEXT_STEP) * _CONTEXT_STEP
    context = max(wanted, _LEAST_CONTEXT)
    return context if context < _FULL_CONTEXT else 0


def _doubtful(segments: list[dict[str, Any]]) -> bool:
    """Nothing heard, loops, or words the model did not believe in itself."""
    if not segments:
        return True
    ratio = segments[0]["compression_ratio"]
    return (ratio is not None and ratio > FAILED_COMPRESSION) or any(
        s["avg_logprob"] < FAILED_LOGPROB for s in segments
    )


def compression_ratio(text: bytes) -> float | None:
    """Bytes before zlib over bytes after, of the whole chunk's text: above 2.4 it repeats itself (openai-whisper)."""
    text = text.strip()
    return len(text) / len(zlib.compress(text)) if text else None
