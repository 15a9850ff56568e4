"""The project's own matrix kernels, put into the sources of libggml before they are compiled.

One so far: Q8_0 weights on AVX-512 VNNI (data/engine/repack-q8_0-avx512.h says how it works). ggml's own repacking
machinery carries it; on CPUs without these instructions the compiler sees nothing of it.
"""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

from core.errors import EngineUnavailable

SOURCES = Path(__file__).parent / "data" / "engine"
KERNEL = "repack-q8_0-avx512.h"

_EDITS = (
    # the templates it specialises are declared by here, and the class that uses them is not yet
    (
        "class tensor_traits_base : public ggml::cpu::tensor_traits {",
        f'#include "{KERNEL}"\n\n{{}}',
    ),
    (
        "    } else if (cur->type == GGML_TYPE_Q8_0) {\n",
        """{}#ifdef PARASCRIBE_Q8_0_X16
        static const ggml::cpu::repack::tensor_traits<block_q8_0, ggml::cpu::repack::q8_0_x16::TAG, 16, GGML_TYPE_Q8_0> q8_0_x16;
        if (cur->ne[1] % 16 == 0 && cur->ne[0] <= ggml::cpu::repack::q8_0_x16::BLOCKS * QK8_0) {{
            return &q8_0_x16;
        }}
#endif
""",
    ),
)


def add_kernels(source: Path) -> None:
    """Add them to an unpacked whisper.cpp. Raises EngineUnavailable when its sources are not those they were written for."""
    folder = source / "ggml" / "src" / "ggml-cpu"
    target = folder / "repack.cpp"
    text = target.read_text("utf-8")
    for anchor, edit in _EDITS:
        if text.count(anchor) != 1:
            raise EngineUnavailable(f"{target.name} has {text.count(anchor)} places for a kernel instead of one: {anchor.strip()!r}")
        text = text.replace(anchor, edit.format(anchor))
    target.write_text(text, "utf-8")
    shutil.copyfile(SOURCES / KERNEL, folder / KERNEL)


def kernels_sha256() -> str:
    """Of what is added: a build's record names it."""
    return hashlib.sha256((SOURCES / KERNEL).read_bytes() + repr(_EDITS).encode()).hexdigest()
