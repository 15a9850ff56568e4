// Q8_0 weights in panels of 16 rows for AVX-512 VNNI. Part of Parascribe (LICENSE at its top), included into ggml's
// repack.cpp, inside namespace ggml::cpu::repack, by whisper/workshop/kernels.py.
//
// ggml multiplies Q8_0 by Q8_0 in 256-bit registers, one row at a time, and takes signs apart for every product.
// Here a weight panel holds, for each block of 32 columns, 16 scales and 8 groups of 16 x 4 bytes, so that one
// VPDPBUSD does 16 rows; what it gives is the same 32-bit integer per block. VPDPBUSD wants one unsigned operand:
// weights are stored plus 128 (their sign bit flipped), and 128 x the sum of the activations is taken off at the
// start of each block, once per four rows of activations and not per product.

#if defined(__AVX512F__) && defined(__AVX512BW__) && defined(__AVX512VL__) && defined(__AVX512DQ__) && defined(__AVX512VNNI__)
#define PARASCRIBE_Q8_0_X16 1

#include <immintrin.h>

#include <cstring>

namespace q8_0_x16 {

constexpr int ROWS   = 16;   // of weights in a panel
constexpr int STRIP  = 4;    // rows of activations at once
constexpr int TAG    = 64;   // in place of an interleave that upstream may use itself
constexpr int BLOCKS = 512;  // per row, at most: 16,384 columns (large models have 5,120)
constexpr int BAND   = 128;  // rows of weights that stay in the L2 cache while all activations pass

// sum over lanes of 4 bytes: what the offset of the weights adds to a block, negative, per row of activations
static inline __m128i offset_of(const int8_t * qs) {
    const __m512i ones = _mm512_set1_epi8(1);
    __m512i sums = _mm512_dpbusd_epi32(_mm512_setzero_si512(), ones, _mm512_loadu_si512(qs));
    sums = _mm512_dpbusd_epi32(sums, ones, _mm512_loadu_si512(qs + 64));
    const __m256i half = _mm256_add_epi32(_mm512_castsi512_si256(sums), _mm512_extracti64x4_epi64(sums, 1));
    const __m128i sum = _mm_add_epi32(_mm256_castsi256_si128(half), _mm256_extracti128_si256(half, 1));
    return _mm_sub_epi32(_mm_setzero_si128(), _mm_slli_epi32(sum, 7));
}

static inline __m512 scales_of(const block_q8_0x16 & block) {
    return _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *) block.d));
}

static inline __m512i four_bytes(const int8_t * p) {
    int v;
    std::memcpy(&v, p, 4);
    return _mm512_set1_epi32(v);
}

// PANELS x 16 rows of weights times 4 rows of activations
template <int PANELS>
static inline void tile(int nb, const block_q8_0x16 * w, const block_q8_0x4 * a, const float (*d)[STRIP],
                        const int32_t (*offset)[STRIP], float * s, size_t bs) {
    __m512 acc[STRIP][PANELS];
    for (int m = 0; m < STRIP; m++) {
        for (int p = 0; p < PANELS; p++) {
            acc[m][p] = _mm512_setzero_ps();
        }
    }
    for (int b = 0; b < nb; b++) {
        __m512i sum[STRIP][PANELS];
        for (int m = 0; m < STRIP; m++) {
            for (int p = 0; p < PANELS; p++) {
                sum[m][p] = _mm512_set1_epi32(offset[b][m]);
            }
        }
        for (int g = 0; g < 8; g++) {
            __m512i weights[PANELS];
            for (int p = 0; p < PANELS; p++) {
                weights[p] = _mm512_loadu_si512(w[p * nb + b].qs + g * 64);
            }
            for (int m = 0; m < STRIP; m++) {
                const __m512i activation = four_bytes(a[b].qs + g * 16 + m * 4);
                for (int p = 0; p < PANELS; p++) {
                    sum[m][p] = _mm512_dpbusd_epi32(sum[m][p], weights[p], activation);
                }
            }
        }
        for (int p = 0; p < PANELS; p++) {
            const __m512 scales = scales_of(w[p * nb + b]);
            for (int m = 0; m < STRIP; m++) {
                acc[m][p] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(sum[m][p]), _mm512_mul_ps(scales, _mm512_set1_ps(d[b][m])), acc[m][p]);
            }
        }
    }
    for (int m = 0; m < STRIP; m++) {
        for (int p = 0; p < PANELS; p++) {
            _mm512_storeu_ps(s + m * bs + p * ROWS, acc[m][p]);
        }
    }
}

// PANELS x 16 rows of weights times one row of activations
template <int PANELS>
static inline void column(int nb, const block_q8_0x16 * w, const block_q8_0 * a, const float * d, const int32_t * offset, float * s) {
    __m512 acc[PANELS];
    for (int p = 0; p < PANELS; p++) {
        acc[p] = _mm512_setzero_ps();
    }
    for (int b = 0; b < nb; b++) {
        const __m512 scale = _mm512_set1_ps(d[b]);
        for (int p = 0; p < PANELS; p++) {
            __m512i even = _mm512_set1_epi32(offset[b]);
            __m512i odd = _mm512_setzero_si512();  // two chains, each half as long
            for (int g = 0; g < 8; g += 2) {
                even = _mm512_dpbusd_epi32(even, _mm512_loadu_si512(w[p * nb + b].qs + g * 64), four_bytes(a[b].qs + g * 4));
                odd = _mm512_dpbusd_epi32(odd, _mm512_loadu_si512(w[p * nb + b].qs + g * 64 + 64), four_bytes(a[b].qs + g * 4 + 4));
            }
            const __m512 sum = _mm512_cvtepi32_ps(_mm512_add_epi32(even, odd));
            acc[p] = _mm512_fmadd_ps(sum, _mm512_mul_ps(scales_of(w[p * nb + b]), scale), acc[p]);
        }
    }
    for (int p = 0; p < PANELS; p++) {
        _mm512_storeu_ps(s + p * ROWS, acc[p]);
    }
}

// one row of 32 floats: 32 bytes and their scale
static inline __m256i quantized(const float * x, ggml_half & scale) {
    const __m512 low = _mm512_loadu_ps(x), high = _mm512_loadu_ps(x + 16);
    const float largest = _mm512_reduce_max_ps(_mm512_max_ps(_mm512_abs_ps(low), _mm512_abs_ps(high)));
    const float d = largest / 127.0f;
    scale = GGML_CPU_FP32_TO_FP16(d);
    const __m512 inverse = _mm512_set1_ps(d != 0.0f ? 1.0f / d : 0.0f);
    const __m128i first = _mm512_cvtsepi32_epi8(_mm512_cvtps_epi32(_mm512_mul_ps(low, inverse)));
    const __m128i second = _mm512_cvtsepi32_epi8(_mm512_cvtps_epi32(_mm512_mul_ps(high, inverse)));
    return _mm256_set_m128i(second, first);
}

}  // namespace q8_0_x16

}  // namespace ggml::cpu::repack

// four rows of activations, interleaved by four bytes
template <>
void ggml_quantize_mat_t<ggml::cpu::repack::q8_0_x16::TAG, GGML_TYPE_Q8_0>(
        const float * GGML_RESTRICT x, void * GGML_RESTRICT vy, int64_t nrow, int64_t n_per_row) {
    using namespace ggml::cpu::repack::q8_0_x16;
    assert(nrow == STRIP);
    UNUSED(nrow);
    const __m512i first = _mm512_setr_epi32(0, 8, 16, 24, 1, 9, 17, 25, 2, 10, 18, 26, 3, 11, 19, 27);
    const __m512i second = _mm512_add_epi32(first, _mm512_set1_epi32(4));
    block_q8_0x4 * y = (block_q8_0x4 *) vy;
    for (int64_t b = 0; b < n_per_row / QK8_0; b++) {
        __m256i rows[STRIP];
        for (int m = 0; m < STRIP; m++) {
            rows[m] = quantized(x + m * n_per_row + b * QK8_0, y[b].d[m]);
        }
        const __m512i low = _mm512_inserti64x4(_mm512_castsi256_si512(rows[0]), rows[1], 1);
        const __m512i high = _mm512_inserti64x4(_mm512_castsi256_si512(rows[2]), rows[3], 1);
        _mm512_storeu_si512(y[b].qs, _mm512_permutex2var_epi32(low, first, high));
        _mm512_storeu_si512(y[b].qs + 64, _mm512_permutex2var_epi32(low, second, high));
    }
}

namespace ggml::cpu::repack {

template <> int repack<block_q8_0, q8_0_x16::TAG, 16>(struct ggml_tensor * t, const void * data, size_t data_size) {
    using namespace q8_0_x16;
    const int64_t nb = t->ne[0] / QK8_0;
    const int64_t rows = ggml_nrows(t);
    GGML_ASSERT(t->type == GGML_TYPE_Q8_0 && data_size == rows * nb * sizeof(block_q8_0));
    if (t->ne[1] % ROWS != 0 || nb > BLOCKS) {
        return -1;
    }
    const block_q8_0 * from = (const block_q8_0 *) data;
    block_q8_0x16 * to = (block_q8_0x16 *) t->data;
    for (int64_t row = 0; row < rows; row += ROWS) {
        for (int64_t b = 0; b < nb; b++, to++) {
            for (int r = 0; r < ROWS; r++) {
                const block_q8_0 & block = from[(row + r) * nb + b];
                to->d[r] = block.d;
                for (int k = 0; k < QK8_0; k++) {
                    to->qs[k / 4 * 64 + r * 4 + k % 4] = block.qs[k] ^ (int8_t) 0x80;
                }
            }
        }
    }
    return 0;
}

template <>
void gemm<block_q8_0, q8_0_x16::TAG, 16, GGML_TYPE_Q8_0>(int n, float * s, size_t bs, const void * vx, const void * vy, int nr, int nc) {
    using namespace q8_0_x16;
    const int nb = n / QK8_0;
    const block_q8_0x16 * w = (const block_q8_0x16 *) vx;
    const block_q8_0x4 * a = (const block_q8_0x4 *) vy;
    float d[BLOCKS][STRIP];
    int32_t offset[BLOCKS][STRIP];
    for (int band = 0; band < nc; band += BAND) {
        const int end = MIN(band + BAND, nc);
        for (int y = 0; y < nr / STRIP; y++) {
            const block_q8_0x4 * strip = a + (int64_t) y * nb;
            for (int b = 0; b < nb; b++) {
                _mm_storeu_ps(d[b], _mm_cvtph_ps(_mm_loadl_epi64((const __m128i *) strip[b].d)));
                _mm_storeu_si128((__m128i *) offset[b], offset_of(strip[b].qs));
            }
            float * out = s + (int64_t) y * STRIP * bs;
            int x = band;
            for (; x + 2 * ROWS <= end; x += 2 * ROWS) {
                tile<2>(nb, w + (int64_t) x / ROWS * nb, strip, d, offset, out + x, bs);
            }
            if (x < end) {
                tile<1>(nb, w + (int64_t) x / ROWS * nb, strip, d, offset, out + x, bs);
            }
        }
    }
}

template <>
void gemv<block_q8_0, q8_0_x16::TAG, 16, GGML_TYPE_Q8_0>(int n, float * s, size_t bs, const void * vx, const void * vy, int nr, int nc) {
    using namespace q8_0_x16;
    UNUSED(bs);
    UNUSED(nr);
    const int nb = n / QK8_0;
    const block_q8_0x16 * w = (const block_q8_0x16 *) vx;
    const block_q8_0 * a = (const block_q8_0 *) vy;
    float d[BLOCKS];
    int32_t offset[BLOCKS];
    const __m256i ones = _mm256_set1_epi8(1);
    for (int b = 0; b < nb; b++) {
        d[b] = GGML_CPU_FP16_TO_FP32(a[b].d);
        const __m256i sums = _mm256_dpbusd_epi32(_mm256_setzero_si256(), ones, _mm256_loadu_si256((const __m256i *) a[b].qs));
        __m128i sum = _mm_add_epi32(_mm256_castsi256_si128(sums), _mm256_extracti128_si256(sums, 1));
        sum = _mm_add_epi32(sum, _mm_shuffle_epi32(sum, 0x4e));
        sum = _mm_add_epi32(sum, _mm_shuffle_epi32(sum, 0xb1));
        offset[b] = -128 * _mm_cvtsi128_si32(sum);
    }
    int x = 0;
    for (; x + 4 * ROWS <= nc; x += 4 * ROWS) {
        column<4>(nb, w + (int64_t) x / ROWS * nb, a, d, offset, s + x);
    }
    for (; x < nc; x += ROWS) {
        column<1>(nb, w + (int64_t) x / ROWS * nb, a, d, offset, s + x);
    }
}

#endif
