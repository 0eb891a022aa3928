// The stages of one step that only an NTM has (Graves et al. 2014, section 3), each with its backward beside it.
//
// As in memories.hpp, which has equations 2 to 6, all are of one sequence, and a backward adds to the gradients of the
// arguments, unless its comment says that it sets them.
#pragma once

#include "../cpu/memories.hpp"

namespace ntm {
namespace {

// Equation 7.
template <class T>
inline void interpolate(index slots, T gate, const T* __restrict previous, const T* __restrict content,
                        T* __restrict gated) {
#pragma omp simd
    for (index n = 0; n < slots; ++n) gated[n] = previous[n] + gate * (content[n] - previous[n]);
}

// Sets dprevious and dcontent, and returns the gradient of the gate.
template <class T>
inline T interpolate_backward(index slots, T gate, const T* previous, const T* content, const T* dgated, T* dprevious,
                              T* dcontent) {
    return sum_of<T>(slots, [=](auto kind, index n) {
        using V = decltype(kind);
        const auto dg = V::load(dgated + n);
        V::store(dprevious + n, (T(1) - gate) * dg);
        V::store(dcontent + n, gate * dg);
        return dg * (V::load(content + n) - V::load(previous + n));
    });
}

// Copies the last slots before the first and the first slots after the last, so that a shift needs no modulo.
template <class T>
inline void close_ring(index slots, index max_shift, T* ring) {
    for (index i = 0; i < max_shift; ++i) {
        ring[-1 - i] = ring[slots - 1 - i];
        ring[slots + i] = ring[i];
    }
}

// Equation 8: moves[i] is the weight of a shift by i - max_shift slots. `gated` is a closed ring.
template <class T>
inline void shift(index slots, index max_shift, const T* moves, const T* gated, T* shifted) {
    along<T, 1>(slots, [=](auto kind, auto, index n) {
        using V = decltype(kind);
        auto share = moves[0] * V::load(gated + n + max_shift);
        for (index i = 1; i <= 2 * max_shift; ++i) share += moves[i] * V::load(gated + n + max_shift - i);
        V::store(shifted + n, share);
    });
}

// Sets dmoves and dgated; `gated` and `dshifted` are closed rings.
template <class T>
inline void shift_backward(index slots, index max_shift, const T* moves, const T* gated, const T* dshifted, T* dmoves,
                           T* dgated) {
    for (index i = 0; i <= 2 * max_shift; ++i) dmoves[i] = dot(slots, dshifted, gated + max_shift - i);
    along<T, 1>(slots, [=](auto kind, auto, index n) {
        using V = decltype(kind);
        auto dg = moves[0] * V::load(dshifted + n - max_shift);
        for (index i = 1; i <= 2 * max_shift; ++i) dg += moves[i] * V::load(dshifted + n - max_shift + i);
        V::store(dgated + n, dg);
    });
}

// Equation 9, as a softmax of logarithms; `logs` gets log(shifted + epsilon).
template <class T>
inline void sharpen(index slots, T sharpening, const T* __restrict shifted, T* __restrict logs, T* __restrict weights) {
#pragma omp simd
    for (index n = 0; n < slots; ++n) logs[n] = log(shifted[n] + T(epsilon));
    softmax(slots, sharpening, logs, weights);
}

// Sets dshifted, and returns the gradient of the sharpening.
template <class T>
inline T sharpen_backward(index slots, T sharpening, const T* __restrict shifted, const T* __restrict logs,
                          const T* __restrict weights, const T* __restrict dweights, T* __restrict dshifted) {
    const T dsharpening = softmax_backward(slots, sharpening, logs, weights, dweights, dshifted);
#pragma omp simd
    for (index n = 0; n < slots; ++n) dshifted[n] /= shifted[n] + T(epsilon);
    return dsharpening;
}

// functional.limit_gradient.
template <class T>
inline void limit(index n, T bound, T* gradient) {
    if (bound <= T(0)) return;
#pragma omp simd
    for (index i = 0; i < n; ++i) {
        const T below = gradient[i] > bound ? bound : gradient[i];
        gradient[i] = below < -bound ? -bound : below;
    }
}

// Replaces dmemory, the gradient of the memory after a step, by that of the memory before: the sum of the gradients
// through the writes, the reads and the cosines.
template <class T>
inline void memory_backward(index reads, index writes, index slots, index width, const T* memory, const T* weights,
                            const T* erase, const T* dreads, const T* units, const T* dcosine, const T* shrink,
                            T* dmemory) {
    const index heads = reads + writes;
    for_heads(reads == writes ? reads : 0, [=](auto few) {
        const index all_reads = few ? index(few) : reads, all_writes = few ? index(few) : writes;
        const index all = few ? 2 * index(few) : heads;
        along<T, 2>(slots, [=](auto kind, auto count, index n) {
            using V = decltype(kind);
            constexpr int held = few ? 2 * few : 1;
            typename V::type w[count][held], dc[count][held], shrinking[count];
            for (int c = 0; c < count; ++c) {
                shrinking[c] = V::load(shrink + n + c * V::lanes);
                for (int h = 0; few && h < held; ++h) {
                    w[c][h] = V::load(weights + h * slots + n + c * V::lanes);
                    dc[c][h] = V::load(dcosine + h * slots + n + c * V::lanes);
                }
            }
            for (index m = 0; m < width; ++m)
#pragma GCC unroll 2
                for (int c = 0; c < count; ++c) {
                    const index at = n + c * V::lanes;
                    auto dm = V::load(dmemory + m * slots + at);
                    for (index h = all_reads; h < all; ++h)
                        dm -= dm * ((few ? w[c][few ? h : 0] : V::load(weights + h * slots + at)) *
                                    erase[(h - all_reads) * width + m]);
                    dm += shrinking[c] * V::load(memory + m * slots + at);
                    for (index h = 0; h < all_reads; ++h)
                        dm += dreads[h * width + m] * (few ? w[c][few ? h : 0] : V::load(weights + h * slots + at));
                    for (index h = 0; h < all; ++h)
                        dm += units[h * width + m] * (few ? dc[c][few ? h : 0] : V::load(dcosine + h * slots + at));
                    V::store(dmemory + m * slots + at, dm);
                }
        });
    });
}

}  // namespace
}  // namespace ntm
