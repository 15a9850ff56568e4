// GELU of 16 values at once from ggml's own table, on AVX-512: the same numbers, to the bit.
// Part of Parascribe (LICENSE at its top), included into ggml's vec.h by whisper/workshop/kernels.py.

#if defined(__AVX512F__)
#define PARASCRIBE_GELU 1

#include <immintrin.h>

// y = gelu(x), n values or some fewer: returns how many. table: by the bits of a half, for values within (-10, 10)
static inline int gelu_from_table(int n, float * y, const float * x, const ggml_fp16_t * table) {
    const __m512 ten = _mm512_set1_ps(10.0f), minus_ten = _mm512_set1_ps(-10.0f);
    int i = 0;
    for (; i + 16 <= n; i += 16) {
        const __m512 v = _mm512_loadu_ps(x + i);
        const __mmask16 inside = _mm512_cmp_ps_mask(v, minus_ten, _CMP_GT_OQ) & _mm512_cmp_ps_mask(v, ten, _CMP_LT_OQ);
        // outside: 0 to the left; to the right, and for what is not a number, the value itself
        const __m512 outside = _mm512_maskz_mov_ps(_mm512_cmp_ps_mask(v, minus_ten, _CMP_NLE_UQ), v);
        const __m512i index = _mm512_cvtepu16_epi32(_mm512_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
        // 32 bits are fetched for each, of which the lower half is its entry; within ten the entry is never the last one
        const __m512i found = _mm512_mask_i32gather_epi32(_mm512_setzero_si512(), inside, index, table, 2);
        const __m512 value = _mm512_cvtph_ps(_mm512_cvtepi32_epi16(found));
        _mm512_storeu_ps(y + i, _mm512_mask_mov_ps(outside, inside, value));
    }
    return i;
}

#endif
