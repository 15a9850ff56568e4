"""One chunk through libwhisper: input guards, decoding, and our own reading of the tokens.

Runs in a forked worker and imports the standard library only, as do the modules of ours that it needs. Every chunk gets
a fresh `whisper_state`: a used one carries random numbers, the last chunk's audio and its logits over into the next
(15-60 ms well spent).
"""

from __future__ import annotations

import ctypes
import math
import time
import zlib
from dataclasses import dataclass
from typing import Any

from core.languages import UNSPACED
from whisper.libwhisper import BEAM_SEARCH, GREEDY, LibWhisper

SAMPLE_RATE = 16_000
SHORTEST = SAMPLE_RATE // 10
"""libwhisper returns nothing below 0.1 s, and the previous caller's text for no samples at all."""
LONGEST = 30 * SAMPLE_RATE
_PADDED = SAMPLE_RATE  # below 1 s libwhisper up to 1.8.5 reads past its buffer (#3956)
_TIMESTAMP_STEP = 0.02
_MAX_DECODERS = 8
_BEST_OF = 2
_TEMPERATURE_STEP = 0.4
_PROMPT_TOKENS = 224
_STATE_ALREADY_FREED = -7
_OPTIONS = frozenset({"language", "task", "prompt", "temperature", "beam_size", "word_timestamps", "fit_context"})
_FULL_CONTEXT, _LEAST_CONTEXT, _CONTEXT_STEP = 1500, 512, 64
_FRAMES = 50
"""Encoder positions per second. Below about 500 of them stock models loop or invent (whisper.cpp #1951, #1117, #1702)."""
_DOUBTFUL_RATIO, _DOUBTFUL_LOGPROB = 2.4, -1.0
"""openai-whisper's own thresholds for a decode that failed."""


class BadChunk(ValueError):
    """The samples or options are not something to decode; the message says why."""


class DecodeFailed(RuntimeError):
    """libwhisper gave up on the chunk."""


@dataclass(frozen=True)
class Token:
    """One text or timestamp token: its bytes need not be valid UTF-8 alone."""

    id: int
    data: bytes
    p: float
    plog: float


@dataclass(frozen=True)
class Phrase:
    """The text tokens between two timestamps; seconds, already clamped."""

    start: float
    end: float
    tokens: tuple[Token, ...]


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

    context: a model loaded without a state, shared by all forked workers and never written to
    threads: per decode; OMP_NUM_THREADS does not limit it
    """

    def __init__(self, lib: LibWhisper, context: int, *, threads: int) -> None:
        self._f = lib.f
        self._context = context
        self._threads = threads
        self._multilingual = bool(lib.f.is_multilingual(context))

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
        if params.audio_ctx and _doubtful(said["segments"]):
            params.audio_ctx = 0
            said = self._decode(samples, options, params)
        return said | {"engine_seconds": time.process_time() - cpu, "wall_seconds": time.monotonic() - wall}

    def _decode(self, samples: Samples, options: dict[str, Any], params: Any) -> dict[str, Any]:
        timed_words, translated = bool(options.get("word_timestamps")), options.get("task") == "translate"
        state, code = self._new_state(), 0
        try:
            code = self._f.pcm_to_mel_with_state(self._context, state, samples.floats, samples.padded, self._threads)
            if not params.audio_ctx:
                samples.release()
            code = code or self._f.full_with_state(self._context, state, params, None, 0)
            if code:
                raise DecodeFailed(f"libwhisper could not decode the chunk (code {code})")
            language = self._f.lang_str(self._f.full_lang_id_from_state(state)).decode()
            tokens = self._tokens(state)
            no_speech = self._no_speech(state)
        finally:
            if code != _STATE_ALREADY_FREED:
                self._f.free_state(state)
        phrases = split_phrases(tokens, self._f.token_beg(self._context), samples.seconds)
        ratio = compression_ratio(b"".join(t.data for p in phrases for t in p.tokens))
        return {
            "segments": [
                {
                    "start": p.start, "end": p.end, "text": _text(p.tokens),
                    "avg_logprob": sum(t.plog for t in p.tokens) / len(p.tokens), "compression_ratio": ratio,
                    "words": words_of(p, spaced=translated or language not in UNSPACED) if timed_words else [],
                }
                for p in phrases
            ],
            "language": language,
            "no_speech_prob": no_speech,
        }  # fmt: skip

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
            best = -1 if code else self._f.lang_auto_detect_with_state(self._context, state, 0, self._threads, probabilities)
        finally:
            self._f.free_state(state)
        if best < 0:
            raise DecodeFailed(f"libwhisper could not detect the language (code {code or best})")
        likely = {self._f.lang_str(i).decode(): p for i, p in enumerate(probabilities) if p > 0.01}
        return {
            "language": self._f.lang_str(best).decode(), "probability": probabilities[best],
            "probabilities": likely, "engine_seconds": time.process_time() - cpu,
        }  # fmt: skip

    def _new_state(self) -> int:
        state: int | None = self._f.init_state(self._context)
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
        params.temperature, params.temperature_inc = temperature, _TEMPERATURE_STEP
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

    def _tokens(self, state: int) -> list[Token]:
        """Text and timestamp tokens in order; other specials are dropped."""
        f, eot, beg = self._f, self._f.token_eot(self._context), self._f.token_beg(self._context)
        found = []
        for segment in range(f.full_n_segments_from_state(state)):
            for position in range(f.full_n_tokens_from_state(state, segment)):
                data = f.full_get_token_data_from_state(state, segment, position)
                if data.id < eot or data.id >= beg:
                    text = f.token_to_str(self._context, data.id) if data.id < eot else b""
                    found.append(Token(data.id, text or b"", data.p, data.plog))
        return found

    def _no_speech(self, state: int) -> float | None:
        """Probability of <|nospeech|> right after <|startoftranscript|>, as openai-whisper defines it.

        The library's own figure reads a row of logits that was never computed; so decode that one token
        again on the encoder's output, which is still in the state (14 ms with base).
        """
        sot = (ctypes.c_int32 * 1)(self._f.token_sot(self._context))
        if self._f.decode_with_state(self._context, state, sot, 1, 0, self._threads):
            return None
        logits = self._f.get_logits_from_state(state)[: self._f.n_vocab(self._context)]
        try:
            # plain sums: they are good to ten digits, and the logits of any real model are far from exp's limits
            return math.exp(logits[self._f.token_nosp(self._context)]) / sum(map(math.exp, logits))
        except (OverflowError, ZeroDivisionError):
            return None


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
    return (ratio is not None and ratio > _DOUBTFUL_RATIO) or any(s["avg_logprob"] < _DOUBTFUL_LOGPROB for s in segments)


def split_phrases(tokens: list[Token], beg: int, seconds: float) -> list[Phrase]:
    """Cut at timestamp tokens (id - beg, in steps of 20 ms); times are monotonic and within [0, seconds].

    A phrase without an end (the decoder stopped) lasts until the end of the audio.
    """
    phrases: list[Phrase] = []
    text: list[Token] = []
    start = 0.0

    def close(end: float) -> None:
        nonlocal text
        if any(t.data.strip() for t in text):
            floor = phrases[-1].end if phrases else 0.0
            begin = min(max(start, floor), seconds)
            phrases.append(Phrase(begin, min(max(end, begin), seconds), tuple(text)))
        text = []

    for token in tokens:
        if token.id < beg:
            text.append(token)
            continue
        moment = round((token.id - beg) * _TIMESTAMP_STEP, 2)
        close(moment)
        start = moment
    close(seconds)
    return phrases


def compression_ratio(text: bytes) -> float | None:
    """Bytes before zlib over bytes after, of the whole chunk's text: above 2.4 it repeats itself (openai-whisper)."""
    text = text.strip()
    return len(text) / len(zlib.compress(text)) if text else None


_SLOWEST = 0.25
"""Seconds per character (with the space before it) beyond which a phrase must contain a pause."""


def words_of(phrase: Phrase, *, spaced: bool) -> list[dict[str, Any]]:
    """Words with times shared out by length.

    A word starts with a token that starts with a space; where a language is written without spaces, with every
    token that completes a character. The phrase's time is divided in proportion to characters, one added per
    word for the gap before it; a phrase slower than 0.25 s per character is taken to end in a pause, so its
    words keep that pace from the start. Probability: mean over the word's tokens. A phrase without duration
    gives words without times.
    """
    groups: list[list[Token]] = []
    for token in phrase.tokens:
        fresh = token.data.startswith(b" ") if spaced else bool(groups) and _complete(groups[-1])
        if fresh or not groups:
            groups.append([])
        groups[-1].append(token)
    groups = [g for g in groups if _text(g)]
    texts = [_text(g) for g in groups]
    total = sum(len(text) + 1 for text in texts)
    duration = phrase.end - phrase.start
    pace = min(duration / total, _SLOWEST) if total else 0.0
    words, position = [], 0
    for group, text in zip(groups, texts, strict=True):
        first, position = position, position + len(text) + 1
        timed = duration > 0
        words.append({
            "word": text,
            "start": round(phrase.start + first * pace, 3) if timed else None,
            "end": round(min(phrase.end, phrase.start + position * pace), 3) if timed else None,
            "probability": sum(t.p for t in group) / len(group),
        })  # fmt: skip
    return words


def _complete(tokens: list[Token]) -> bool:
    try:
        b"".join(t.data for t in tokens).decode()
    except UnicodeDecodeError:
        return False
    return True


def _text(tokens: tuple[Token, ...] | list[Token]) -> str:
    """Tokens end in the middle of characters, so only their joined bytes may be decoded."""
    return b"".join(t.data for t in tokens).decode("utf-8", "replace").strip()
