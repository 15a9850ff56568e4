// Checks the kernels against sums in double precision, in the surroundings that ggml's own files give them.
// Prints "absent" when the instructions it is compiled for do not suffice, else a line per case with the largest error
// and the largest figure, and "ok" when all errors are small.

#define GGML_COMMON_IMPL_CPP
#define GGML_COMMON_DECL_CPP
#include "ggml-common.h"

#include "ggml-impl.h"
#include "ggml-cpu-impl.h"
#include "simd-mappings.h"
#include "traits.h"
#include "repack.h"
#include "vec.h"

#include <assert.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

// nothing of the C++ library but its headers: what need not be linked need not be built first

#define UNUSED GGML_UNUSED

// of the library, as far as it is needed here
extern "C" void ggml_abort(const char * file, int line, const char * fmt, ...) {
    va_list args;
    va_start(args, fmt);
    fprintf(stderr, "%s:%d: ", file, line);
    vfprintf(stderr, fmt, args);
    abort();
}
extern "C" int64_t ggml_nrows(const struct ggml_tensor * t) { return t->ne[1] * t->ne[2] * t->ne[3]; }
float ggml_table_f32_f16[1 << 16];

template <int64_t INTER_SIZE, ggml_type PARAM_TYPE>
void ggml_quantize_mat_t(const float * GGML_RESTRICT x, void * GGML_RESTRICT vy, int64_t nrow, int64_t n_per_row);

namespace ggml::cpu::repack {

template <typename BLOC_TYPE, int64_t INTER_SIZE, int64_t NB_COLS> int repack(struct ggml_tensor *, const void *, size_t);
template <typename BLOC_TYPE, int64_t INTER_SIZE, int64_t NB_COLS, ggml_type PARAM_TYPE>
void gemv(int, float *, size_t, const void *, const void *, int, int);
template <typename BLOC_TYPE, int64_t INTER_SIZE, int64_t NB_COLS, ggml_type PARAM_TYPE>
void gemm(int, float *, size_t, const void *, const void *, int, int);

#include "repack-q8_0-avx512.h"

}  // namespace ggml::cpu::repack

#include "attention-64-avx512.h"
#include "gelu-avx512.h"

#if !defined(PARASCRIBE_Q8_0_X16) || !defined(PARASCRIBE_ATTENTION_64) || !defined(PARASCRIBE_GELU)

int main() {
    puts("absent");
}

#else

using namespace ggml::cpu::repack;

static float full(ggml_half h) { return GGML_CPU_FP16_TO_FP32(h); }

template <typename T> static T * array(int64_t n) { return (T *) aligned_alloc(64, (n * sizeof(T) + 63) / 64 * 64); }

static uint32_t state = 1;
static float uniform() {  // in (-1, 1); the constants are those of Numerical Recipes
    state = state * 1664525 + 1013904223;
    return (int32_t) state / 2147483648.0f;
}
static float bell() { return uniform() + uniform() + uniform(); }
static float edge() { return uniform() < 0 ? -3.0f : 3.0f; }

static block_q8_0 packed(const float * x) {
    block_q8_0 block;
    float largest = 0;
    for (int k = 0; k < 32; k++) {
        largest = fmaxf(largest, fabsf(x[k]));
    }
    const float d = largest / 127;
    block.d = GGML_CPU_FP32_TO_FP16(d);
    for (int k = 0; k < 32; k++) {
        block.qs[k] = d > 0 ? (int8_t) lroundf(x[k] / d) : 0;
    }
    return block;
}

// weights: rows x columns, activations: strip x columns
static bool check(int rows, int columns, int strip, float (*draw)()) {
    const int nb = columns / 32, wide = rows + 32, outs = strip * wide;  // the results lie 16 from the start of longer rows
    float * w = array<float>(rows * columns), * a = array<float>(strip * columns), * out = array<float>(outs + 1);
    block_q8_0 * weights = array<block_q8_0>(rows * nb), * plain = array<block_q8_0>(strip * nb);
    block_q8_0x16 * panels = array<block_q8_0x16>(rows / 16 * nb);
    block_q8_0x4 * strips = array<block_q8_0x4>((strip + 3) / 4 * nb);
    for (int i = 0; i < rows * columns; i++) {
        w[i] = draw();
    }
    for (int i = 0; i < strip * columns; i++) {
        a[i] = i / 32 == 1 ? 0.0f : draw();  // a silent block has no scale
    }
    for (int i = 0; i < rows * nb; i++) {
        weights[i] = packed(w + i * 32);
    }
    for (int i = 0; i <= outs; i++) {
        out[i] = 7.0f;
    }
    ggml_tensor tensor = {};
    tensor.type = GGML_TYPE_Q8_0;
    tensor.ne[0] = columns, tensor.ne[1] = rows, tensor.ne[2] = tensor.ne[3] = 1;
    tensor.data = panels;
    bool ok = repack<block_q8_0, q8_0_x16::TAG, 16>(&tensor, weights, rows * nb * sizeof(block_q8_0)) == 0;
    if (strip % 4 == 0) {
        for (int y = 0; y < strip / 4; y++) {
            ggml_quantize_mat_t<q8_0_x16::TAG, GGML_TYPE_Q8_0>(a + y * 4 * columns, strips + y * nb, 4, columns);
        }
        for (int i = 0; i < strip * nb; i++) {  // what the product is made of, and how far that is from the numbers given
            const int m = i / nb;
            const block_q8_0x4 & from = strips[m / 4 * nb + i % nb];
            plain[i].d = from.d[m % 4];
            const float d = full(from.d[m % 4]);
            for (int k = 0; k < 32; k++) {
                plain[i].qs[k] = from.qs[k / 4 * 16 + m % 4 * 4 + k % 4];
                ok &= fabsf(plain[i].qs[k] * d - a[i * 32 + k]) <= 0.6f * d;
            }
        }
        gemm<block_q8_0, q8_0_x16::TAG, 16, GGML_TYPE_Q8_0>(columns, out + 16, wide, panels, strips, strip, rows);
    } else {
        for (int i = 0; i < strip * nb; i++) {
            plain[i] = packed(a + i * 32);
        }
        for (int m = 0; m < strip; m++) {
            gemv<block_q8_0, q8_0_x16::TAG, 16, GGML_TYPE_Q8_0>(columns, out + m * wide + 16, wide, panels, plain + m * nb, 1, rows);
        }
    }
    double largest = 0, worst = 0;
    for (int i = 0; i < outs; i++) {
        const int row = i % wide - 16;
        if (row < 0 || row >= rows) {
            ok &= out[i] == 7.0f;
            continue;
        }
        double want = 0;
        for (int b = 0; b < nb; b++) {
            const block_q8_0 & x = weights[row * nb + b], & y = plain[i / wide * nb + b];
            int sum = 0;
            for (int k = 0; k < 32; k++) {
                sum += x.qs[k] * y.qs[k];
            }
            want += (double) sum * full(x.d) * full(y.d);
        }
        const double error = fabs(want - out[i]);
        ok &= isfinite(error);
        worst = fmax(worst, error);
        largest = fmax(largest, fabs(want));
    }
    ok &= worst <= 1e-5 * largest && largest > 0 && out[outs] == 7.0f;
    printf("%d x %d times %d: %.1e of %.1f%s\n", rows, columns, strip, worst, largest, ok ? "" : " WRONG");
    free(w), free(a), free(out), free(weights), free(plain), free(panels), free(strips);
    return ok;
}

// keys: how many; masked: each third one is not seen, nor are the first and the last 16; what is not seen is not a number
static bool check_attention(int keys, int begin, bool masked) {
    const int width = attention_64::WIDTH, apart = 3 * width;  // as heads lie beside each other
    ggml_fp16_t * k = array<ggml_fp16_t>(keys * apart), * v = array<ggml_fp16_t>(keys * apart), * mask = array<ggml_fp16_t>(keys);
    float q[64], out[64], total, largest;
    for (int i = 0; i < keys * apart; i++) {
        k[i] = GGML_CPU_FP32_TO_FP16(bell()), v[i] = GGML_CPU_FP32_TO_FP16(bell());
    }
    for (int i = 0; i < keys; i++) {
        const bool unseen = i % 3 == 1 || i < begin + 16 || i > keys - 16;
        mask[i] = GGML_CPU_FP32_TO_FP16(unseen ? -INFINITY : -0.25f);
        for (int d = 0; masked && unseen && d < width; d++) {
            k[i * apart + d] = v[i * apart + d] = GGML_CPU_FP32_TO_FP16(NAN);
        }
    }
    for (int d = 0; d < width; d++) {
        q[d] = bell();
    }
    attention_64::attend(q, (const char *) k, apart * sizeof(*k), (const char *) v, apart * sizeof(*v), masked ? mask : nullptr,
                         2.0f, 0.125f, begin, keys, out, total, largest);
    double * scores = array<double>(keys), most = -INFINITY, sum = 0, worst = 0;
    for (int i = begin; i < keys; i++) {
        scores[i] = masked && full(mask[i]) == -INFINITY ? -INFINITY : 0;
        if (scores[i] < 0) {
            continue;
        }
        for (int d = 0; d < width; d++) {
            scores[i] += (double) q[d] * full(k[i * apart + d]) * 0.125;
        }
        scores[i] += masked ? 2.0 * full(mask[i]) : 0.0;
        most = fmax(most, scores[i]);
    }
    for (int i = begin; i < keys; i++) {
        sum += exp(scores[i] - most);
    }
    for (int d = 0; d < width; d++) {
        double want = 0;
        for (int i = begin; i < keys; i++) {
            want += scores[i] == -INFINITY ? 0 : exp(scores[i] - most) * full(v[i * apart + d]);
        }
        const double error = fabs(want / sum - out[d] / total);
        worst = isfinite(error) ? fmax(worst, error) : INFINITY;
    }
    if (most == -INFINITY) {  // nothing is seen
        const bool none = total == 0.0f && largest == -INFINITY && out[0] == 0.0f && out[63] == 0.0f;
        printf("%d keys from %d, none seen%s\n", keys, begin, none ? "" : " WRONG");
        return none;
    }
    const bool ok = worst < 2e-6 && fabs(most - largest) < 1e-5 && fabs(sum - total) < 1e-5 * sum;
    printf("%d keys from %d%s: %.1e of %.1f%s\n", keys, begin, masked ? ", masked" : "", worst, sum, ok ? "" : " WRONG");
    free(k), free(v), free(mask), free(scores);
    return ok;
}

static bool check_turn(int keys, int width) {
    const int stride = 64;
    ggml_fp16_t * k = array<ggml_fp16_t>(keys * width * 2);
    float * to = array<float>(width * stride);
    for (int i = 0; i < keys * width * 2; i++) {
        k[i] = GGML_CPU_FP32_TO_FP16(bell());
    }
    for (int i = 0; i < width * stride; i++) {
        to[i] = 7.0f;
    }
    const int turned = attention_64::turn(to, stride, (const char *) k, width * 2 * sizeof(*k), keys, width);
    bool ok = turned == keys / 16 * 16;
    for (int i = 0; i < width * stride; i++) {
        ok &= to[i] == (i % stride < turned ? full(k[i % stride * width * 2 + i / stride]) : 7.0f);
    }
    printf("%d keys of %d turned%s\n", keys, width, ok ? "" : " WRONG");
    free(k), free(to);
    return ok;
}

// against what ggml does for one value, to the bit
static bool check_gelu(int n) {
    static ggml_fp16_t table[1 << 16];
    for (int i = 0; i < 1 << 16; i++) {
        table[i] = (ggml_fp16_t) (i * 40503);  // nothing near the function: any other entry shows; may be not a number
    }
    float * x = array<float>(n), * y = array<float>(n + 1);
    const float special[] = {0.0f, -0.0f, 10.0f, -10.0f, 9.9999f, -9.9999f, 9.996f, -9.996f, 1e30f, -1e30f, INFINITY, -INFINITY, NAN, -NAN, 1e-8f, -1e-8f, 6e-5f, -70000.0f};
    const int specials = sizeof(special) / sizeof(special[0]);
    for (int i = 0; i < n; i++) {
        x[i] = i % 3 ? 4.0f * bell() : special[i / 3 % specials];
    }
    y[n] = 7.0f;
    const int done = gelu_from_table(n, y, x, table);
    bool ok = done == n / 16 * 16 && y[n] == 7.0f;
    for (int i = 0; i < done; i++) {
        float one;
        if (x[i] <= -10.0f) {
            one = 0.0f;
        } else if (x[i] >= 10.0f) {
            one = x[i];
        } else if (x[i] != x[i]) {
            ok &= y[i] != y[i];
            continue;
        } else {
            ggml_fp16_t half = GGML_CPU_FP32_TO_FP16(x[i]);
            one = GGML_CPU_FP16_TO_FP32(table[half]);
            if (one != one) {
                ok &= y[i] != y[i];
                continue;
            }
        }
        ok &= memcmp(&one, &y[i], sizeof(one)) == 0;
    }
    printf("gelu of %d%s\n", n, ok ? "" : " WRONG");
    free(x), free(y);
    return ok;
}

int main() {
    for (int i = 0; i < 1 << 16; i++) {
        const ggml_half half = (ggml_half) i;
        ggml_table_f32_f16[i] = _mm_cvtss_f32(_mm_cvtph_ps(_mm_cvtsi32_si128(half)));
    }
    bool ok = true;
    for (auto draw : {bell, edge}) {
        for (int rows : {16, 32, 48, 112, 144, 512}) {
            for (int columns : {32, 128, 512, 5120}) {
                for (int strip : {1, 3, 4, 12}) {
                    ok &= check(rows, columns, strip, draw);
                }
            }
        }
    }
    for (int keys : {1, 5, 16, 17, 63, 448, 1500}) {
        for (bool masked : {false, true}) {
            ok &= check_attention(keys, 0, masked);
            ok &= check_attention(keys + 7, 7, masked);
        }
    }
    for (int keys : {64, 48, 28, 3}) {
        ok &= check_turn(keys, 64) & check_turn(keys, 80);
    }
    for (int n : {3, 16, 31, 2048, 100000}) {
        ok &= check_gelu(n);
    }
    puts(ok ? "ok" : "failed");
    return ok ? 0 : 1;
}

#endif
