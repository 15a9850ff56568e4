"""Times of tokens from whisper.cpp's own alignment, for a model that was loaded to decode with flash attention.

whisper.cpp finds token times by dynamic time warping over the cross-attention of chosen heads, as openai-whisper's
`timing.py` does, but refuses to where flash attention is on, and both are parameters of the *context*, which all
workers share. Decoding without flash attention would be slower and now and then give another text. So the
text is decoded as always, and both switches are turned for the alignment alone, by what libwhisper calls on
its way: `new_segment_callback` comes when the text of a window stands and right before the place where it aligns (one
pass of the decoder over that text). The attention's keys and values, which the encoder has left in the layout of
flash attention, are put into the other one first, instead of encoding again.

The switches and the two tensors lie in structs that libwhisper does not publish. Their places are those of whisper.cpp
1.8.5 and 1.9.3 (`whisper_context`, `whisper_state` in src/whisper.cpp, the same in both); they are used only where
what is known to stand there and beside them does stand there. A forked worker writes to its own copy of the page.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from whisper.libwhisper import ContextParams, LibraryUnusable, LibWhisper

_CONTEXT_PARAMS = 24
"""Where `params` lies in whisper_context: behind two i64 and two enums."""
_CROSS, _PAD, _CACHE_SIZE, _CACHE_KEYS, _CACHE_VALUES = 168, 256, 4, 40, 48
"""Where `kv_cross` and `kv_pad` lie in whisper_state, and `size`, `k` and `v` in a whisper_kv_cache."""
_FULL_CONTEXT, _CONTEXT_PADDING = 1500, 256
_FEWEST_FRAMES = 16
"""Of 10 ms: the alignment's median filter is 7 positions of 20 ms wide, and libwhisper aborts on less."""

_HEADS = {
    (4, 384, 51_864): 3, (4, 384, 51_865): 4, (6, 512, 51_864): 5, (6, 512, 51_865): 6, (12, 768, 51_864): 7,
    (12, 768, 51_865): 8, (24, 1024, 51_864): 9, (24, 1024, 51_865): 10, (32, 1280, 51_866): 13, (4, 1280, 51_866): 14,
}  # fmt: skip
"""whisper_alignment_heads_preset by text layers, width and vocabulary: tiny.en, tiny, base.en, base, small.en, small,
medium.en, medium, large-v3, large-v3-turbo. The values are those of whisper.h."""
_LARGE, _LARGE_HEADS = (32, 1280, 51_865), {"large-v1": 11, "large-v2": 12}
"""Two models of one architecture with different heads: only the name tells them apart."""

LAG = {3: 0.10, 6: -0.03}
"""Seconds by which a model's alignment lags behind the speech, by preset; others: not known, taken as 0. Median over the
words of `test-other` against a forced alignment by PocketSphinx (see docs/explanation/word-times.md)."""

_OnSegment = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p)
_OnEncode = ctypes.CFUNCTYPE(ctypes.c_bool, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p)


class CannotAlign(Exception):
    """This model or library gives no token times; the message says why."""


class Alignment:
    """The alignment of one loaded model. Raises CannotAlign.

    context: as `LibWhisper.load_model` returns it
    name: of the model's file without `ggml-` and `.bin`
    """

    def __init__(self, lib: LibWhisper, context: int, *, name: str) -> None:
        self._f, self._context = lib.f, context
        try:
            self._ggml = lib.tensor_functions()
        except LibraryUnusable as error:
            raise CannotAlign(str(error)) from error
        self._layers, self._width = lib.f.model_n_text_layer(context), lib.f.model_n_text_state(context)
        self.heads = heads_of((self._layers, self._width, lib.f.n_vocab(context)), name)
        if not self.heads:
            raise CannotAlign("it is not known which of the model's attention heads follow the speech")
        self._params = ContextParams.from_address(context + _CONTEXT_PARAMS)
        if _fields(self._params) != _fields(lib.context_params()):
            raise CannotAlign(f"libwhisper {lib.version} keeps its context's parameters somewhere else")

    @property
    def lag(self) -> float:
        """Seconds by which the times come after what is heard."""
        return LAG.get(self.heads, 0.0)

    def new_state(self) -> int | None:
        """`init_state`, with the masks of the heads that are to be looked at."""
        self._params.dtw_aheads_preset, self._params.dtw_token_timestamps = self.heads, True
        try:
            state: int | None = self._f.init_state(self._context)
        finally:
            self._params.dtw_token_timestamps = False
        return state

    @contextmanager
    def timing(self, params: Any, state: int, *, before: Callable[[int], None]) -> Iterator[None]:
        """Let the `full_with_state` in this block give its text tokens a `t_dtw`, the end of each in units of 10 ms.

        before: called with the state when the text stands and nothing has been turned yet; afterwards the state
            is good for reading tokens only. Not called for a window without text.
        Tokens keep their `t_dtw` of -1 where something is not as it should be; the text is the same in any case.
        """
        positions = params.audio_ctx or _FULL_CONTEXT
        caches = self._caches(state)

        def on_segment(_context: int, state: int, _new: int, _data: int | None) -> None:
            if not self._params.flash_attn:  # called once more when the times are there
                return
            before(state)
            frames = self._f.full_get_segment_t1_from_state(state, self._f.full_n_segments_from_state(state) - 1)
            if caches is not None and frames >= _FEWEST_FRAMES:
                self._rearrange(*caches, positions)
                self._params.flash_attn, self._params.dtw_token_timestamps = False, True

        def on_encode(_context: int, _state: int, _data: int | None) -> bool:
            if not self._params.flash_attn:  # a second window: back to what the first one found
                self._params.flash_attn, self._params.dtw_token_timestamps = True, False
                for tensor in caches or ():
                    ctypes.memset(self._ggml.ggml_get_data(tensor), 0, self._ggml.ggml_nbytes(tensor))
            return True

        callbacks = _OnSegment(on_segment), _OnEncode(on_encode)
        params.new_segment_callback, params.encoder_begin_callback = (ctypes.cast(c, ctypes.c_void_p) for c in callbacks)
        try:
            yield
        finally:
            self._params.flash_attn, self._params.dtw_token_timestamps = True, False
            del callbacks  # not before: ctypes would free them

    def _caches(self, state: int) -> tuple[int, int] | None:
        """The tensors of cross-attention keys and values; None where they are not certainly these."""
        padded = _padded(_FULL_CONTEXT)
        sizes = {ctypes.c_uint32.from_address(state + cache + _CACHE_SIZE).value for cache in (_CROSS, _PAD)}
        if sizes != {padded}:
            return None
        keys, values = (ctypes.c_size_t.from_address(state + _CROSS + offset).value for offset in (_CACHE_KEYS, _CACHE_VALUES))
        if not (keys and values and keys % 8 == values % 8 == 0):
            return None
        expected = 2 * self._layers * self._width * padded  # of f16
        if any(self._ggml.ggml_nbytes(tensor) != expected or self._ggml.ggml_element_size(tensor) != 2 for tensor in (keys, values)):
            return None
        return keys, values

    def _rearrange(self, keys: int, values: int, positions: int) -> None:
        """From the layout of flash attention to the other one.

        (`whisper_build_graph_cross`.) Per layer, flash attention has rows of all positions, padded to a multiple of 256;
        the other has keys in rows without padding and values in columns.
        """
        width, padded = self._width, _padded(positions)
        data = self._ggml.ggml_get_data(keys)
        for layer in range(1, self._layers):
            ctypes.memmove(data + 2 * layer * width * positions, data + 2 * layer * width * padded, 2 * width * positions)
        room = (ctypes.c_uint16 * (self._layers * width * padded)).from_address(self._ggml.ggml_get_data(values))
        cells = memoryview(room).cast("B").cast("H")
        for layer in range(self._layers):
            first, to = layer * width * padded, layer * width * positions
            rows = memoryview(cells[first : first + width * positions].tobytes()).cast("H")
            for column in range(width):
                cells[to + column * positions : to + (column + 1) * positions] = rows[column::width]


def alignment_of(lib: LibWhisper, context: int, *, name: str) -> Alignment | None:
    """The model's alignment; None, and a line on stderr, where there is none: word times are then shared out by length."""
    try:
        return Alignment(lib, context, name=name)
    except CannotAlign as error:
        print(f"words of {name} get times by their length: {error}", file=sys.stderr, flush=True)
        return None


def heads_of(architecture: tuple[int, int, int], name: str) -> int:
    """whisper.cpp's preset for a model by (text layers, width, vocabulary); 0 where it cannot be told."""
    if architecture == _LARGE:
        return next((heads for known, heads in _LARGE_HEADS.items() if name == known or name.startswith(f"{known}-")), 0)
    return _HEADS.get(architecture, 0)


def _padded(positions: int) -> int:
    return -(-positions // _CONTEXT_PADDING) * _CONTEXT_PADDING


def _fields(params: ContextParams) -> tuple[Any, ...]:
    return (
        params.use_gpu, params.flash_attn, params.gpu_device, params.dtw_token_timestamps, params.dtw_n_top,
        params.dtw_aheads.n_heads, params.dtw_aheads.heads, params.dtw_mem_size,
    )  # fmt: skip
