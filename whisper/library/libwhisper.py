"""libwhisper by ctypes: the structs, the functions we call, and a guard that both are what we think.

Struct layouts are those of whisper.h as of 1.8.5 and 1.9.3 (identical in both), on LP64 platforms. Since a
struct passed by value fails silently when its layout has moved, a library is used only if its version is one
that has been checked *and* its default values read back where we expect them. Only the standard library is
imported here: the engine host loads this module before it forks.
"""

from __future__ import annotations

import ctypes
import functools
import sys
from ctypes import POINTER, Structure, c_bool, c_char_p, c_float, c_int, c_int32, c_int64, c_size_t, c_void_p
from pathlib import Path
from typing import Any

KNOWN_VERSIONS = frozenset({"1.8.5", "1.9.0", "1.9.1", "1.9.2", "1.9.3"})
"""Versions whose struct layouts are known: compared at both ends, 1.8.5 and 1.9.3."""

GREEDY, BEAM_SEARCH = 0, 1
_LOADER_NAMES = ("libggml.so", "libggml.dylib")
_LIBRARY_NAMES = ("libwhisper.so.1", "libwhisper.so", "libwhisper.1.dylib", "libwhisper.dylib")
_LOG_WARNING, _LOG_ERROR = 3, 4
_NO_WEIGHTS = "no tensors loaded"
FloatPointer = POINTER(c_float)


class LibraryUnusable(Exception):
    """The library is missing, cannot be loaded or has another ABI; the message says which."""


class Aheads(Structure):
    _fields_ = [("n_heads", c_size_t), ("heads", c_void_p)]


class ContextParams(Structure):
    """whisper_context_params, 48 bytes."""

    _fields_ = [
        ("use_gpu", c_bool),
        ("flash_attn", c_bool),
        ("gpu_device", c_int),
        ("dtw_token_timestamps", c_bool),
        ("dtw_aheads_preset", c_int),
        ("dtw_n_top", c_int),
        ("dtw_aheads", Aheads),
        ("dtw_mem_size", c_size_t),
    ]


class VadParams(Structure):
    """whisper_vad_params, 24 bytes."""

    _fields_ = [
        ("threshold", c_float),
        ("min_speech_duration_ms", c_int),
        ("min_silence_duration_ms", c_int),
        ("max_speech_duration_s", c_float),
        ("speech_pad_ms", c_int),
        ("samples_overlap", c_float),
    ]


class FullParams(Structure):
    """whisper_full_params, 304 bytes."""

    _fields_ = [
        ("strategy", c_int),
        ("n_threads", c_int),
        ("n_max_text_ctx", c_int),
        ("offset_ms", c_int),
        ("duration_ms", c_int),
        ("translate", c_bool),
        ("no_context", c_bool),
        ("no_timestamps", c_bool),
        ("single_segment", c_bool),
        ("print_special", c_bool),
        ("print_progress", c_bool),
        ("print_realtime", c_bool),
        ("print_timestamps", c_bool),
        ("token_timestamps", c_bool),
        ("thold_pt", c_float),
        ("thold_ptsum", c_float),
        ("max_len", c_int),
        ("split_on_word", c_bool),
        ("max_tokens", c_int),
        ("debug_mode", c_bool),
        ("audio_ctx", c_int),
        ("tdrz_enable", c_bool),
        ("suppress_regex", c_char_p),
        ("initial_prompt", c_char_p),
        ("carry_initial_prompt", c_bool),
        ("prompt_tokens", c_void_p),
        ("prompt_n_tokens", c_int),
        ("language", c_char_p),
        ("detect_language", c_bool),
        ("suppress_blank", c_bool),
        ("suppress_nst", c_bool),
        ("temperature", c_float),
        ("max_initial_ts", c_float),
        ("length_penalty", c_float),
        ("temperature_inc", c_float),
        ("entropy_thold", c_float),
        ("logprob_thold", c_float),
        ("no_speech_thold", c_float),
        ("best_of", c_int),
        ("beam_size", c_int),
        ("patience", c_float),
        ("new_segment_callback", c_void_p),
        ("new_segment_user_data", c_void_p),
        ("progress_callback", c_void_p),
        ("progress_user_data", c_void_p),
        ("encoder_begin_callback", c_void_p),
        ("encoder_begin_user_data", c_void_p),
        ("abort_callback", c_void_p),
        ("abort_user_data", c_void_p),
        ("logits_filter_callback", c_void_p),
        ("logits_filter_user_data", c_void_p),
        ("grammar_rules", c_void_p),
        ("n_grammar_rules", c_size_t),
        ("i_start_rule", c_size_t),
        ("grammar_penalty", c_float),
        ("vad", c_bool),
        ("vad_model_path", c_char_p),
        ("vad_params", VadParams),
    ]


class TokenData(Structure):
    """whisper_token_data, 56 bytes."""

    _fields_ = [
        ("id", c_int32),
        ("tid", c_int32),
        ("p", c_float),
        ("plog", c_float),
        ("pt", c_float),
        ("ptsum", c_float),
        ("t0", c_int64),
        ("t1", c_int64),
        ("t_dtw", c_int64),
        ("vlen", c_float),
    ]


_SIZES = {ContextParams: 48, VadParams: 24, FullParams: 304, TokenData: 56}
_PROTOTYPES: dict[str, tuple[Any, tuple[Any, ...]]] = {
    "whisper_version": (c_char_p, ()),
    "whisper_context_default_params": (ContextParams, ()),
    "whisper_full_default_params": (FullParams, (c_int,)),
    "whisper_init_from_file_with_params_no_state": (c_void_p, (c_char_p, ContextParams)),
    "whisper_init_state": (c_void_p, (c_void_p,)),
    "whisper_free_state": (None, (c_void_p,)),
    "whisper_free": (None, (c_void_p,)),
    "whisper_full_with_state": (c_int, (c_void_p, c_void_p, FullParams, FloatPointer, c_int)),
    "whisper_full_n_segments_from_state": (c_int, (c_void_p,)),
    "whisper_full_get_segment_t1_from_state": (c_int64, (c_void_p, c_int)),
    "whisper_full_n_tokens_from_state": (c_int, (c_void_p, c_int)),
    "whisper_full_get_token_data_from_state": (TokenData, (c_void_p, c_int, c_int)),
    "whisper_full_lang_id_from_state": (c_int, (c_void_p,)),
    "whisper_token_to_str": (c_char_p, (c_void_p, c_int32)),
    "whisper_token_sot": (c_int32, (c_void_p,)),
    "whisper_token_eot": (c_int32, (c_void_p,)),
    "whisper_token_beg": (c_int32, (c_void_p,)),
    "whisper_token_nosp": (c_int32, (c_void_p,)),
    "whisper_n_vocab": (c_int, (c_void_p,)),
    "whisper_model_n_text_layer": (c_int, (c_void_p,)),
    "whisper_model_n_text_state": (c_int, (c_void_p,)),
    "whisper_is_multilingual": (c_int, (c_void_p,)),
    "whisper_lang_id": (c_int, (c_char_p,)),
    "whisper_lang_str": (c_char_p, (c_int,)),
    "whisper_lang_max_id": (c_int, ()),
    "whisper_lang_auto_detect_with_state": (c_int, (c_void_p, c_void_p, c_int, c_int, FloatPointer)),
    "whisper_pcm_to_mel_with_state": (c_int, (c_void_p, c_void_p, FloatPointer, c_int, c_int)),
    "whisper_decode_with_state": (c_int, (c_void_p, c_void_p, POINTER(c_int32), c_int, c_int, c_int)),
    "whisper_get_logits_from_state": (FloatPointer, (c_void_p,)),
    "whisper_vad_default_params": (VadParams, ()),
}
_TENSOR_PROTOTYPES: dict[str, tuple[Any, tuple[Any, ...]]] = {
    "ggml_get_data": (c_void_p, (c_void_p,)),
    "ggml_nbytes": (c_size_t, (c_void_p,)),
    "ggml_element_size": (c_size_t, (c_void_p,)),
}
_LogCallback = ctypes.CFUNCTYPE(None, c_int, c_char_p, c_void_p)
_SILENT = _LogCallback(lambda *_: None)  # kept: ctypes would free it

_KEPT: list[Any] = []
"""Log callbacks: a library calls its last one for as long as the process lives, also when the object behind it is gone."""


class LibWhisper:
    """A loaded and checked libwhisper. `lib.f.init_state(ctx)` is whisper_init_state.

    directory: holds libwhisper and what it needs
    debug: pass the library's own log to stderr in full; else its errors only. The log callback is global
        to the process, so make one object per process.

    Raises LibraryUnusable.
    """

    def __init__(self, directory: Path, *, debug: bool = False) -> None:
        self.directory = directory
        dll = _load(directory)
        self._dll = dll
        self.f = _Functions(dll, _PROTOTYPES)
        self.version: str = (self.f.version() or b"").decode("ascii", "replace")
        self._check_abi()
        self._debug = debug
        self._complaints: list[str] = []
        self._log = _LogCallback(self._on_log)
        _KEPT.append(self._log)
        dll.whisper_log_set.argtypes, dll.whisper_log_set.restype = (_LogCallback, c_void_p), None
        dll.whisper_log_set(self._log, None)

    def load_model(self, path: Path) -> int:
        """Read a ggml file into a context without a state. Raises ValueError when the library refuses it."""
        self._complaints.clear()
        context: int | None = self.f.init_from_file_with_params_no_state(str(path).encode(), self.context_params())
        # a file that ends before its weights is taken for a test model, which aborts when used
        if not context or any(_NO_WEIGHTS in line for line in self._complaints):
            why = f": {self._complaints[-1]}" if self._complaints else ""
            raise ValueError(f"libwhisper {self.version} cannot read the model {path}{why}")
        return context

    def context_params(self) -> ContextParams:
        """What every model is loaded with."""
        params: ContextParams = self.f.context_default_params()
        params.use_gpu = False  # a GPU context does not survive fork
        params.flash_attn = True
        return params

    def tensor_functions(self) -> _Functions:
        """ggml_get_data and the like, with the prefix `ggml_`. Raises LibraryUnusable when the library keeps its ggml to itself."""
        return _Functions(self._dll, _TENSOR_PROTOTYPES)

    def _on_log(self, level: int, text: bytes | None, _data: int | None) -> None:
        line = (text or b"").decode("utf-8", "replace")
        if self._debug or level == _LOG_ERROR:
            sys.stderr.write(line)
        if level in (_LOG_WARNING, _LOG_ERROR):
            self._complaints = [*self._complaints[-9:], line.strip()]

    def _check_abi(self) -> None:
        if self.version not in KNOWN_VERSIONS:
            raise LibraryUnusable(
                f"libwhisper {self.version!r} in {self.directory} is none of {', '.join(sorted(KNOWN_VERSIONS))}"
            )
        for struct, size in _SIZES.items():
            if ctypes.sizeof(struct) != size:
                raise LibraryUnusable(
                    f"{struct.__name__} has {ctypes.sizeof(struct)} bytes on this platform, not {size}"
                )
        full, context, vad = (
            self.f.full_default_params(GREEDY),
            self.f.context_default_params(),
            self.f.vad_default_params(),
        )
        seen = (
            full.entropy_thold,
            full.logprob_thold,
            full.no_speech_thold,
            full.best_of,
            full.grammar_penalty,
            full.vad_params.threshold,
            full.vad_params.samples_overlap,
            full.language,
            context.flash_attn,
            vad.threshold,
        )
        expected = (2.4, -1.0, 0.6, 5, 100.0, 0.5, 0.1, b"en", True, 0.5)
        for value, default in zip(seen, expected, strict=True):
            if (abs(value - default) > 1e-6) if isinstance(default, float) else (value != default):
                raise LibraryUnusable(
                    f"libwhisper {self.version} in {self.directory}: defaults {seen}, expected {expected}"
                )


class _Functions:
    """The functions with their prototypes, without the `whisper_` prefix."""

    def __init__(self, dll: ctypes.CDLL, prototypes: dict[str, tuple[Any, tuple[Any, ...]]]) -> None:
        for name, (result, arguments) in prototypes.items():
            try:
                function = getattr(dll, name)
            except AttributeError:
                raise LibraryUnusable(f"{dll._name} has no {name}") from None
            function.restype, function.argtypes = result, arguments
            setattr(self, name.removeprefix("whisper_"), function)

    def __getattr__(self, name: str) -> Any:  # only for the type checker: all names are set above
        raise AttributeError(name)


def find_library(directory: Path) -> Path | None:
    """The libwhisper file in a directory, or None."""
    return next((path for name in _LIBRARY_NAMES if (path := directory / name).is_file()), None)


@functools.cache
def _load_backends(directory: Path) -> None:
    """Load the kernels for this CPU, once per process: ggml would register them again at each call."""
    loader = next(
        (path for name in _LOADER_NAMES if (path := directory / name).is_file()), directory / _LOADER_NAMES[0]
    )
    ggml = ctypes.CDLL(str(loader), ctypes.RTLD_GLOBAL)
    ggml.ggml_log_set.argtypes, ggml.ggml_log_set.restype = (_LogCallback, c_void_p), None
    ggml.ggml_log_set(_SILENT, None)
    ggml.ggml_backend_load_all_from_path.argtypes, ggml.ggml_backend_load_all_from_path.restype = (c_char_p,), None
    ggml.ggml_backend_load_all_from_path(str(directory).encode())


def _load(directory: Path) -> ctypes.CDLL:
    """Builds with one CPU back end per file need ggml's loader before libwhisper; others must not see it.

    (whisper.cpp 73a8c5fb9: libwhisper no longer loads back ends itself. The path is given because the
    loader's default is to look into the working directory as well.)
    """
    path = find_library(directory)
    if path is None:
        raise LibraryUnusable(f"there is no libwhisper in {directory}")
    try:
        if any(directory.glob("libggml-cpu-*.so")):
            _load_backends(directory)
        try:
            return ctypes.CDLL(str(path))
        except OSError:  # a build without RPATH: bring its parts in by hand, in the order of their dependencies
            for part in ("libggml-base.so", "libggml-cpu.so", "libggml.so"):
                ctypes.CDLL(str(directory / part), ctypes.RTLD_GLOBAL)
            return ctypes.CDLL(str(path))
    except (OSError, AttributeError) as error:
        raise LibraryUnusable(f"{path} cannot be loaded: {error}") from error
