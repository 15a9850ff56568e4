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

from whisper.library.libwhisper import ContextParams, LibraryUnusable, LibWhisper

_CONTEXT_PARAMS = 24
"""Where `params` lies in whisper_context: behind two i64 and two enums."""
_CROSS, _PAD, _CACHE_SIZE, _CACHE_KEYS, _CACHE_VALUES = 168, 256, 4, 40, 48
"""Where `kv_cross` and `kv_pad` lie in whisper_state, and `size`, `k` and `v` in a whisper_kv_cache."""
_FULL_CONTEXT, _CONTEXT_PADDING = 1500, 256
_FEWEST_FRAMES = 16
"""Of 10 ms: the alignment's median filter is 7 positions of 20 ms wide, and libwhisper aborts on less."""

TOP_LAYER = 1
"""WHISPER_AHEADS_N_TOP_MOST with one layer: all heads of the last one."""

_HEADS = {
    (4, 384, 51_864): 3,
    (4, 384, 51_865): 4,
    (6, 512, 51_864): 5,
    (6, 512, 51_865): 6,
    (12, 768, 51_864): 7,
    (12, 768, 51_865): 8,
    (24, 1024, 51_864): 9,
    (24, 1024, 51_865): 10,
    (32, 1280, 51_866): 13,
    (4, 1280, 51_866): 14,
}
"""whisper_alignment_heads_preset by text layers, width and vocabulary: tiny.en, tiny, base.en, base, small.en, small,
medium.en, medium, large-v3, large-v3-turbo. The values are those of whisper.h."""
_LARGE, _LARGE_HEADS = (32, 1280, 51_865), {"large-v1": 11, "large-v2": 12}
"""Two models of one architecture with different heads: only the name tells them apart."""
_WIDTHS = range(384, 1281)
"""Of models of which the top layer is worth asking: base's gave half the error of times by length (0.07 s against 0.16, 79 words),
the demo model's, which has 128, more. Above, libwhisper's 128 MB for the alignment may not do, and it aborts."""

_LAG = {3: 0.11, 6: -0.02}
"""Seconds by which a model's alignment lags behind the speech, by preset; others: not measured, taken as 0. Median over 650
words of real recordings against a forced alignment by PocketSphinx."""

_OnSegment = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p)
_OnEncode = ctypes.CFUNCTYPE(ctypes.c_bool, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p)


class CannotAlign(Exception):
    """This model or library gives no token times; the message says why."""


class Alignment:
    """The alignment of one loaded model. Raises CannotAlign.

    context: as `LibWhisper.load_model` returns it
    heads: which follow the speech, a whisper_alignment_heads_preset
    """

    def __init__(self, lib: LibWhisper, context: int, *, heads: int) -> None:
        self._f, self._context, self._heads = lib.f, context, heads
        try:
            self._ggml = lib.tensor_functions()
        except LibraryUnusable as error:
            raise CannotAlign(str(error)) from error
        self._layers, self._width = lib.f.model_n_text_layer(context), lib.f.model_n_text_state(context)
        self._params = ContextParams.from_address(context + _CONTEXT_PARAMS)
        if _fields(self._params) != _fields(lib.context_params()):
            raise CannotAlign(f"libwhisper {lib.version} keeps its context's parameters somewhere else")

    @property
    def lag(self) -> float:
        """Seconds by which the times come after what is heard."""
        return _LAG.get(self._heads, 0.0)

    def new_state(self) -> int | None:
        """`init_state`, with the masks of the heads that are to be looked at."""
        self._align(True)
        state: int | None = self._f.init_state(self._context)
        self._align(False)
        return state

    @contextmanager
    def timing(self, params: Any, state: int, *, before: Callable[[int], None]) -> Iterator[None]:
        """Let the `full_with_state` in this block give its text tokens a `t_dtw`, the end of each in units of 10 ms.

        before: called with the state when the text stands and nothing has been turned yet; afterwards the state
            is good for reading tokens only. Not called for a window without text.
        Tokens keep their `t_dtw` of -1 where something is not as it should be; the text is the same in any case.
        """
        positions = params.audio_ctx or _FULL_CONTEXT
        caches = self.caches(state)

        def on_segment(_context: int, state: int, _new: int, _data: int | None) -> None:
            if not self._params.flash_attn:  # called once more when the times are there
                return
            before(state)
            frames = self._f.full_get_segment_t1_from_state(state, self._f.full_n_segments_from_state(state) - 1)
            if caches is not None and frames >= _FEWEST_FRAMES:
                self._rearrange(*caches, positions)
                self._params.flash_attn = False
                self._align(True)

        def on_encode(_context: int, _state: int, _data: int | None) -> bool:
            if not self._params.flash_attn:  # a second window: back to what the first one found
                self._params.flash_attn = True
                self._align(False)
                for tensor in caches or ():
                    ctypes.memset(self._ggml.ggml_get_data(tensor), 0, self._ggml.ggml_nbytes(tensor))
            return True

        callbacks = _OnSegment(on_segment), _OnEncode(on_encode)
        params.new_segment_callback, params.encoder_begin_callback = (
            ctypes.cast(c, ctypes.c_void_p) for c in callbacks
        )
        try:
            yield
        finally:
            self._params.flash_attn = True
            self._align(False)
            del callbacks  # not before: ctypes would free them

    def _align(self, wanted: bool) -> None:
        self._params.dtw_token_timestamps = wanted
        self._params.dtw_aheads_preset, self._params.dtw_n_top = (self._heads, 1) if wanted else (0, -1)

    def caches(self, state: int) -> tuple[int, int] | None:
        """The tensors of cross-attention keys and values; None where they are not certainly these."""
        padded = _padded(_FULL_CONTEXT)
        sizes = {ctypes.c_uint32.from_address(state + cache + _CACHE_SIZE).value for cache in (_CROSS, _PAD)}
        if sizes != {padded}:
            return None
        keys, values = (
            ctypes.c_size_t.from_address(state + _CROSS + offset).value for offset in (_CACHE_KEYS, _CACHE_VALUES)
        )
        if not (keys and values and keys % 8 == values % 8 == 0):
            return None
        expected = 2 * self._layers * self._width * padded  # of f16
        if any(
            self._ggml.ggml_nbytes(tensor) != expected or self._ggml.ggml_element_size(tensor) != 2
            for tensor in (keys, values)
        ):
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
            ctypes.memmove(
                data + 2 * layer * width * positions, data + 2 * layer * width * padded, 2 * width * positions
            )
        room = (ctypes.c_uint16 * (self._layers * width * padded)).from_address(self._ggml.ggml_get_data(values))
        cells = memoryview(room).cast("B").cast("H")
        for layer in range(self._layers):
            first, to = layer * width * padded, layer * width * positions
            rows = memoryview(cells[first : first + width * positions].tobytes()).cast("H")
            for column in range(width):
                cells[to + column * positions : to + (column + 1) * positions] = rows[column::width]


def alignment_of(lib: LibWhisper, context: int, *, name: str) -> Alignment | None:
    """A model's alignment by the name of its file; None where its words get times by their length.

    That is so for a model without heads that are known to be good, and, with a line on stderr, for a library that is not
    as expected.
    """
    f = lib.f
    heads = heads_of((f.model_n_text_layer(context), f.model_n_text_state(context), f.n_vocab(context)), name)
    if not heads:
        return None
    try:
        return Alignment(lib, context, heads=heads)
    except CannotAlign as error:
        print(f"word times are shared out by length: {error}", file=sys.stderr, flush=True)
        return None


def heads_of(architecture: tuple[int, int, int], name: str) -> int:
    """whisper.cpp's preset for a model by (text layers, width, vocabulary) and name without `ggml-`; 0 = align nothing.

    A quantised or retrained model has the heads of its original. Of one that is nothing known the top layer is taken.
    """
    if architecture == _LARGE:
        known = [heads for model, heads in _LARGE_HEADS.items() if name == model or name.startswith(f"{model}-")]
        return known[0] if known else TOP_LAYER
    return _HEADS.get(architecture, TOP_LAYER if architecture[1] in _WIDTHS else 0)


def _padded(positions: int) -> int:
    return -(-positions // _CONTEXT_PADDING) * _CONTEXT_PADDING


def _fields(params: ContextParams) -> tuple[Any, ...]:
    return (
        params.use_gpu,
        params.flash_attn,
        params.gpu_device,
        params.dtw_token_timestamps,
        params.dtw_aheads_preset,
        params.dtw_n_top,
        params.dtw_aheads.n_heads,
        params.dtw_aheads.heads,
        params.dtw_mem_size,
    )
