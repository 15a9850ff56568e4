"""The project's own kernels, put into the sources of libggml before they are compiled.

* Products with Q8_0 weights on AVX-512 VNNI (data/engine/repack-q8_0-avx512.h), carried by ggml's own repacking.
* Attention of single queries on AVX-512 (data/engine/attention-64-avx512.h), and of many: the keys are turned and the
  largest score is found 16 at a time, which gives the same numbers.
* GELU from ggml's table, 16 values at a time (data/engine/gelu-avx512.h), which gives the same numbers too.

On CPUs without these instructions the compiler sees nothing of it. What each does and how: the heads of the files.

And ggml's barrier, which yields the core after 50 microseconds: threads that spin while they wait for one that has no
core keep it from getting one.
"""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

from core.errors import EngineUnavailable
from whisper import DATA

SOURCES = DATA / "engine"
PRODUCTS = "repack-q8_0-avx512.h"
ATTENTION = "attention-64-avx512.h"
GELU = "gelu-avx512.h"
KERNELS = (PRODUCTS, ATTENTION, GELU)

_EDITS = (
    # (file, a text that occurs in it once, what takes its place; {} is that text)
    # the templates that are specialised are declared before this class, and it is the first to use them
    ("repack.cpp", "class tensor_traits_base : public ggml::cpu::tensor_traits {", f'#include "{PRODUCTS}"\n\n{{}}'),
    (
        "repack.cpp",
        "    } else if (cur->type == GGML_TYPE_Q8_0) {\n",
        """{}#ifdef PARASCRIBE_Q8_0_X16
        static const ggml::cpu::repack::tensor_traits<block_q8_0, ggml::cpu::repack::q8_0_x16::TAG, 16, GGML_TYPE_Q8_0> q8_0_x16;
        if (cur->ne[1] % 16 == 0 && cur->ne[0] <= ggml::cpu::repack::q8_0_x16::BLOCKS * QK8_0) {{
            return &q8_0_x16;
        }}
#endif
""",
    ),
    ("ops.cpp", "static void ggml_compute_forward_flash_attn_ext_f16_one_chunk(\n", f'#include "{ATTENTION}"\n\n{{}}'),
    (
        "ops.cpp",
        """        q_to_vec_dot(pq, Q_q, DK);

        // online softmax / attention
""",
        """#ifdef PARASCRIBE_ATTENTION_64
        const bool wide = k->type == GGML_TYPE_F16 && v->type == GGML_TYPE_F16 && DK == attention_64::WIDTH &&
            DV == attention_64::WIDTH && logit_softcap == 0.0f && !params->use_ref;
#else
        const bool wide = false;
#endif
{}""",
    ),
    (
        "ops.cpp",
        "        for (int64_t ic = ic_start; ic < ic_end; ++ic) {\n            const float mv = mp ?",
        """#ifdef PARASCRIBE_ATTENTION_64
        if (wide) {{
            attention_64::attend(pq, (const char *) k->data + ik2*nbk2 + ik3*nbk3, nbk1, (const char *) v->data + iv2*nbv2 + iv3*nbv3, nbv1,
                mp, slope, scale, ic_start, ic_end, VKQ32, S, M);
        }} else
#endif
{}""",
    ),
    (
        "ops.cpp",
        "        if (v->type == GGML_TYPE_F16) {\n            for (int64_t d = 0; d < DV; ++d) {\n                VKQ32[d]",
        "        if (v->type == GGML_TYPE_F16 && !wide) {{\n            for (int64_t d = 0; d < DV; ++d) {{\n                VKQ32[d]",
    ),
    # of the tiled attention: one 16 x 16 turn of keys instead of 256 looks into a table
    (
        "ops.cpp",
        "            for (int tk = 0; tk < kv_tile; tk++) {\n                const char * k_data",
        """            int turned = 0;
#ifdef PARASCRIBE_ATTENTION_64
            if (kv_type == GGML_TYPE_F16 && DK % attention_64::STEP == 0) {{
                turned = attention_64::turn(K_f32, KV_TILE_SZ, (const char *) k->data + ic*nbk1 + ik2*nbk2 + ik3*nbk3, nbk1, kv_tile, DK);
            }}
#endif
            for (int tk = turned; tk < kv_tile; tk++) {{
                const char * k_data""",
    ),
    (
        "vec.h",
        "    float max = -INFINITY;\n    for (int i = 0; i < n; ++i) {\n        max = MAX(max, x[i]);",
        """    float max = -INFINITY;
    int i = 0;
#ifdef __AVX512F__
    if (n >= 16) {{
        __m512 wide = _mm512_loadu_ps(x);
        for (i = 16; i + 16 <= n; i += 16) {{
            wide = _mm512_max_ps(wide, _mm512_loadu_ps(x + i));
        }}
        max = _mm512_reduce_max_ps(wide);
    }}
#endif
    for (; i < n; ++i) {{
        max = MAX(max, x[i]);""",
    ),
    ("vec.h", "// precomputed quick gelu table for f16 (128 KB)\n", f'#include "{GELU}"\n\n{{}}'),
    (
        "vec.h",
        "inline static void ggml_vec_gelu_f32(const int n, float * y, const float * x) {\n    uint16_t t;\n    for (int i = 0; i < n; ++i) {",
        """inline static void ggml_vec_gelu_f32(const int n, float * y, const float * x) {{
    uint16_t t;
    int i = 0;
#ifdef PARASCRIBE_GELU
    i = gelu_from_table(n, y, x, ggml_table_gelu_f16);
#endif
    for (; i < n; ++i) {{""",
    ),
    # two decodes of 2 threads each on 2 cores, base q8_0: 36 s for 9 s of audio, and 1.0 s with it (2 threads alone: 0.5 and 0.4)
    (
        "ggml-cpu.c",
        """    while (atomic_load_explicit(&tp->n_barrier_passed, memory_order_relaxed) == n_passed) {
        ggml_thread_cpu_relax();
    }""",
        """    for (int turns = 0; atomic_load_explicit(&tp->n_barrier_passed, memory_order_relaxed) == n_passed;) {{
        if (turns < 1000) {{
            ++turns;
            ggml_thread_cpu_relax();
        }} else {{
            sched_yield();
        }}
    }}""",
    ),
)


def add_kernels(source: Path) -> None:
    """Add them to an unpacked whisper.cpp. Raises EngineUnavailable when its sources are not those they were written for."""
    folder = source / "ggml" / "src" / "ggml-cpu"
    for name, anchor, edit in _EDITS:
        target = folder / name
        text = target.read_text("utf-8")
        if text.count(anchor) != 1:
            raise EngineUnavailable(
                f"{name} has {text.count(anchor)} places for a kernel instead of one: {anchor.strip()!r}"
            )
        target.write_text(text.replace(anchor, edit.format(anchor)), "utf-8")
    for name in KERNELS:
        shutil.copyfile(SOURCES / name, folder / name)


def kernels_sha256() -> str:
    """Of what is added: a build's record names it."""
    digest = hashlib.sha256(repr(_EDITS).encode())
    for name in KERNELS:
        digest.update((SOURCES / name).read_bytes())
    return digest.hexdigest()
