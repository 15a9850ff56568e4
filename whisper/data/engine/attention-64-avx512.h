// Attention of one query over many keys, for heads 64 wide (all Whisper models) with keys and values in f16, on AVX-512.
// Part of Parascribe (LICENSE at its top), included into ggml's ops.cpp by whisper/workshop/kernels.py.
//
// ggml looks at one key after the other: a dot product by function pointer, one expf, one update of the sum kept in f16.
// For a decoder that emits one token at a time over 1,500 frames that is as dear as its matrix products. Here 16 keys
// are one step: their scores lie in one register, the exponentials are one vector, the sum is kept in f32. The online
// softmax is the same (Milakov and Gimelshein, arXiv:1805.02867).

#if defined(__AVX512F__) && defined(__AVX512DQ__) && defined(__AVX512BW__) && defined(__AVX512VL__) && defined(__F16C__)
#define PARASCRIBE_ATTENTION_64 1

#include <immintrin.h>

namespace attention_64 {

constexpr int WIDTH = 64;
constexpr int STEP  = 16;

static inline __m512 halves(const ggml_fp16_t * p) {
    return _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *) p));
}

// lane i: the sum of the lanes of a[i]
static inline __m512 sums(const __m512 * a) {
    __m512 four[4];
    for (int i = 0; i < 4; i++) {
        const __m512 low  = _mm512_add_ps(_mm512_unpacklo_ps(a[4*i], a[4*i + 1]), _mm512_unpackhi_ps(a[4*i], a[4*i + 1]));
        const __m512 high = _mm512_add_ps(_mm512_unpacklo_ps(a[4*i + 2], a[4*i + 3]), _mm512_unpackhi_ps(a[4*i + 2], a[4*i + 3]));
        four[i] = _mm512_add_ps(_mm512_castpd_ps(_mm512_unpacklo_pd(_mm512_castps_pd(low), _mm512_castps_pd(high))),
                                _mm512_castpd_ps(_mm512_unpackhi_pd(_mm512_castps_pd(low), _mm512_castps_pd(high))));
    }
    const __m512 x = _mm512_add_ps(_mm512_shuffle_f32x4(four[0], four[1], 0x88), _mm512_shuffle_f32x4(four[0], four[1], 0xdd));
    const __m512 y = _mm512_add_ps(_mm512_shuffle_f32x4(four[2], four[3], 0x88), _mm512_shuffle_f32x4(four[2], four[3], 0xdd));
    return _mm512_add_ps(_mm512_shuffle_f32x4(x, y, 0x88), _mm512_shuffle_f32x4(x, y, 0xdd));
}

// q: 64 floats; k, v: rows of 64 halves, nbk and nbv bytes apart; mask: one half per key, times slope, or null
// out: 64 floats, the values weighted with exp(score - largest); total: the sum of the weights; both of keys begin to end
static inline void attend(const float * q, const char * k, size_t nbk, const char * v, size_t nbv, const ggml_fp16_t * mask,
                          float slope, float scale, int64_t begin, int64_t end, float * out, float & total, float & largest) {
    __m512 query[4], even[4], odd[4];
    for (int j = 0; j < 4; j++) {
        query[j] = _mm512_mul_ps(_mm512_loadu_ps(q + 16*j), _mm512_set1_ps(scale));
        even[j] = odd[j] = _mm512_setzero_ps();
    }
    total   = 0.0f;
    largest = -INFINITY;
    for (int64_t first = begin; first < end; first += STEP) {
        const int n = (int) (end - first < STEP ? end - first : STEP);
        __mmask16 heard = (__mmask16) ((1u << n) - 1);
        __m512 products[STEP];
        for (int i = 0; i < STEP; i++) {
            const ggml_fp16_t * key = (const ggml_fp16_t *) (k + (first + (i < n ? i : 0)) * nbk);
            const __m512 low  = _mm512_fmadd_ps(halves(key + 16), query[1], _mm512_mul_ps(halves(key), query[0]));
            const __m512 high = _mm512_fmadd_ps(halves(key + 48), query[3], _mm512_mul_ps(halves(key + 32), query[2]));
            products[i] = _mm512_add_ps(low, high);
        }
        __m512 scores = sums(products);
        if (mask) {
            const __m512 added = _mm512_cvtph_ps(_mm256_maskz_loadu_epi16(heard, mask + first));
            heard  = _mm512_mask_cmp_ps_mask(heard, added, _mm512_set1_ps(-INFINITY), _CMP_NEQ_UQ);
            scores = _mm512_fmadd_ps(added, _mm512_set1_ps(slope), scores);
        }
        scores = _mm512_mask_blend_ps(heard, _mm512_set1_ps(-INFINITY), scores);
        const float here = _mm512_reduce_max_ps(scores);
        if (here == -INFINITY) {
            continue;
        }
        if (here > largest) {
            const float before = largest == -INFINITY ? 0.0f : expf(largest - here);
            for (int j = 0; j < 4; j++) {
                even[j] = _mm512_mul_ps(even[j], _mm512_set1_ps(before));
                odd[j]  = _mm512_mul_ps(odd[j], _mm512_set1_ps(before));
            }
            total *= before;
            largest = here;
        }
        const __m512 weights = _mm512_maskz_mov_ps(heard, ggml_v_expf(_mm512_sub_ps(scores, _mm512_set1_ps(largest))));
        total += _mm512_reduce_add_ps(weights);
        float weight[STEP];
        _mm512_storeu_ps(weight, weights);
        for (int i = 0; i < n; i++) {
            if (!(heard >> i & 1)) {
                continue;
            }
            const ggml_fp16_t * value = (const ggml_fp16_t *) (v + (first + i) * nbv);
            const __m512 w = _mm512_set1_ps(weight[i]);
            __m512 * into = i % 2 ? odd : even;
            for (int j = 0; j < 4; j++) {
                into[j] = _mm512_fmadd_ps(halves(value + 16*j), w, into[j]);
            }
        }
    }
    for (int j = 0; j < 4; j++) {
        _mm512_storeu_ps(out + 16*j, _mm512_add_ps(even[j], odd[j]));
    }
}

// to[d][i] = key i at d, for as many whole groups of 16 keys as there are of n; returns how many keys that is
// to: rows of `stride` floats; k: rows of `width` halves (a multiple of 16), nbk bytes apart
static inline int turn(float * to, int stride, const char * k, size_t nbk, int n, int64_t width) {
    const int whole = n / STEP * STEP;
    for (int first = 0; first < whole; first += STEP) {
        for (int64_t d = 0; d < width; d += STEP) {
            __m512 a[STEP], b[STEP];
            for (int i = 0; i < STEP; i++) {
                a[i] = halves((const ggml_fp16_t *) (k + (first + i) * nbk) + d);
            }
            for (int i = 0; i < STEP; i += 2) {  // of each 128 bits: pairs of keys
                b[i]     = _mm512_unpacklo_ps(a[i], a[i + 1]);
                b[i + 1] = _mm512_unpackhi_ps(a[i], a[i + 1]);
            }
            for (int i = 0; i < STEP; i += 4) {  // fours of keys: a[i + j] has column 4 x lane + j
                for (int j = 0; j < 2; j++) {
                    const __m512d x = _mm512_castps_pd(b[i + j]), y = _mm512_castps_pd(b[i + j + 2]);
                    a[i + 2*j]     = _mm512_castpd_ps(_mm512_unpacklo_pd(x, y));
                    a[i + 2*j + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(x, y));
                }
            }
            for (int j = 0; j < 4; j++) {  // all 16 keys: lanes 0 and 2, 1 and 3 of two fours, then of two eights
                const __m512 even_low  = _mm512_shuffle_f32x4(a[j], a[j + 4], 0x88), even_high = _mm512_shuffle_f32x4(a[j + 8], a[j + 12], 0x88);
                const __m512 odd_low   = _mm512_shuffle_f32x4(a[j], a[j + 4], 0xdd), odd_high  = _mm512_shuffle_f32x4(a[j + 8], a[j + 12], 0xdd);
                float * row = to + (d + j) * stride + first;
                _mm512_storeu_ps(row,               _mm512_shuffle_f32x4(even_low, even_high, 0x88));
                _mm512_storeu_ps(row + 4 * stride,  _mm512_shuffle_f32x4(odd_low, odd_high, 0x88));
                _mm512_storeu_ps(row + 8 * stride,  _mm512_shuffle_f32x4(even_low, even_high, 0xdd));
                _mm512_storeu_ps(row + 12 * stride, _mm512_shuffle_f32x4(odd_low, odd_high, 0xdd));
            }
        }
    }
    return whole;
}

}  // namespace attention_64

#endif
