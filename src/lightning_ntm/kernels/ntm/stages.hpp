// The stages of one step of an NTM (Graves et al. 2014, section 3), each with its backward beside it.
//
// All are of one sequence. The memory is transposed, width x slots, so that every loop runs along the slots. A
// backward takes the gradients of the results of its stage and adds to those of the arguments, unless its comment says
// that it sets them.
#pragma once

#include <cmath>

#include "../cpu/numerics.hpp"
#include "../cpu/products.hpp"

namespace ntm {
namespace {

constexpr double epsilon = 1e-12;  // functional.EPSILON

// y = softmax(scale * x); y may be x.
template <class T>
inline void softmax(index n, T scale, const T* x, T* y) {
    T largest = scale * x[0];
#pragma omp simd reduction(max : largest)
    for (index i = 0; i < n; ++i) {
        const T value = scale * x[i];
        largest = value > largest ? value : largest;
    }
#pragma omp simd
    for (index i = 0; i < n; ++i) y[i] = exp(scale * x[i] - largest);
    const T share = T(1) / sum(n, y);
#pragma omp simd
    for (index i = 0; i < n; ++i) y[i] *= share;
}

// Sets dx to the gradient of x, and returns that of scale.
template <class T>
inline T softmax_backward(index n, T scale, const T* x, const T* y, const T* dy, T* dx) {
    const T mean = dot(n, y, dy);
    return sum_of<T>(n, [=](auto kind, index i) {
        using V = decltype(kind);
        const auto dz = V::load(y + i) * (V::load(dy + i) - mean);
        V::store(dx + i, scale * dz);
        return dz * V::load(x + i);
    });
}

// Equation 6: the cosine of the unit key to each slot. `scales` are one over the length of each
// slot.
template <class T>
inline void scales_of_squares(index slots, T* scales) {
#pragma omp simd
    for (index n = 0; n < slots; ++n) scales[n] = T(1) / std::sqrt(scales[n]);
}

template <class T>
inline void slot_scales(index slots, index width, const T* __restrict memory, T* __restrict scales) {
    for (index n = 0; n < slots; ++n) scales[n] = T(epsilon);
    for (index m = 0; m < width; ++m)
#pragma omp simd
        for (index n = 0; n < slots; ++n) scales[n] += memory[m * slots + n] * memory[m * slots + n];
    scales_of_squares(slots, scales);
}

// Returns the length of the key and sets `unit` to the key of length one.
template <class T>
inline T unit_key(index width, const T* key, T* unit) {
    const T norm = std::sqrt(dot(width, key, key) + T(epsilon));
    for (index m = 0; m < width; ++m) unit[m] = key[m] / norm;
    return norm;
}

// Sets dkey from the gradient of the unit key.
template <class T>
inline void unit_key_backward(index width, T norm, const T* unit, const T* dunit, T* dkey) {
    const T along = dot(width, unit, dunit);
    for (index m = 0; m < width; ++m) dkey[m] = (dunit[m] - unit[m] * along) / norm;
}

template <class T>
inline void cosines(index heads, index slots, index width, const T* memory, const T* units, const T* scales,
                    T* cosine) {
    linear(heads, width, slots, units, memory, cosine, {width, slots, slots}, false);
    for (index h = 0; h < heads; ++h)
#pragma omp simd
        for (index n = 0; n < slots; ++n) cosine[h * slots + n] *= scales[n];
}

// Sets dunits, and replaces dcosine by the gradient of the products of units and slots. memory_backward adds the rest
// of the memory's gradient: `shrink` times the memory, and the units times dcosine.
template <class T>
inline void cosines_backward(index heads, index slots, index width, const T* __restrict memory,
                             const T* __restrict scales, const T* __restrict cosine, T* __restrict dcosine,
                             T* __restrict dunits, T* __restrict shrink) {
    for (index n = 0; n < slots; ++n) shrink[n] = 0;
    for (index h = 0; h < heads; ++h) {
#pragma omp simd
        for (index n = 0; n < slots; ++n) {
            dcosine[h * slots + n] *= scales[n];
            shrink[n] -= dcosine[h * slots + n] * cosine[h * slots + n] * scales[n];
        }
        dots(width, slots, dcosine + h * slots, memory, dunits + h * width);
    }
}

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

// Equation 2.
template <class T>
inline void read(index heads, index slots, index width, const T* memory, const T* weights, T* reads) {
    for (index h = 0; h < heads; ++h) dots(width, slots, weights + h * slots, memory, reads + h * width);
}

// memory_backward adds the gradient of the memory, dreads times the weights.
template <class T>
inline void read_backward(index heads, index slots, index width, const T* memory, const T* dreads, T* dweights) {
    linear(heads, width, slots, dreads, memory, dweights, {width, slots, slots}, true);
}

// Equations 3 and 4: all heads erase, then all heads add. `after` may be `before`; `scales` are those of
// `after`.
template <class T>
inline void write(index heads, index slots, index width, const T* before, const T* weights, const T* erase,
                  const T* add, T* after, T* scales) {
    for_heads(heads, [=](auto few) {
        const index all = few ? index(few) : heads;
        along<T, 4>(slots, [=](auto kind, auto count, index n) {
            using V = decltype(kind);
            typename V::type squares[count], w[count];
            for (int c = 0; c < count; ++c) squares[c] = typename V::type{} + T(epsilon);
            for (int c = 0; few && c < count; ++c) w[c] = V::load(weights + n + c * V::lanes);
            for (index m = 0; m < width; ++m)
#pragma GCC unroll 4
                for (int c = 0; c < count; ++c) {
                    const index at = n + c * V::lanes;
                    auto slot = V::load(before + m * slots + at);
                    for (index h = 0; h < all; ++h)
                        slot -= slot * ((few ? w[c] : V::load(weights + h * slots + at)) * erase[h * width + m]);
                    for (index h = 0; h < all; ++h)
                        slot += (few ? w[c] : V::load(weights + h * slots + at)) * add[h * width + m];
                    V::store(after + m * slots + at, slot);
                    squares[c] += slot * slot;
                }
            for (int c = 0; c < count; ++c) V::store(scales + n + c * V::lanes, squares[c]);
        });
    });
    scales_of_squares(slots, scales);
}

// `Rows` rows of the memory in write_backward, from row m, for head h; `Few` as in for_heads.
template <class T, int Rows, int Few>
inline void write_rows_backward(index h, index heads, index slots, index width, index m, const T* before,
                                const T* weights, const T* erase, const T* add, const T* dmemory, T* dweights,
                                T* derase, T* dadd) {
    typename Vector<T>::type de[Rows] = {}, da[Rows] = {};
    T de_rest[Rows] = {}, da_rest[Rows] = {};
    const auto step = [=](auto kind, index n, auto& de, auto& da) {
        using V = decltype(kind);
        const auto w = V::load(weights + h * slots + n);
        auto dw = V::load(dweights + h * slots + n);
#pragma GCC unroll 4
        for (int r = 0; r < Rows; ++r) {
            const auto dm = V::load(dmemory + (m + r) * slots + n);
            auto left = V::load(before + (m + r) * slots + n);  // after the erases of the other heads
            for (index other = 0; !Few && other < heads; ++other)
                if (other != h) left -= left * (V::load(weights + other * slots + n) * erase[other * width + m + r]);
            const auto dforgotten = dm * left;
            de[r] -= dforgotten * w;
            da[r] += dm * w;
            dw += dm * add[h * width + m + r] - dforgotten * erase[h * width + m + r];
        }
        V::store(dweights + h * slots + n, dw);
    };
    index n = 0;
    for (; n + Vector<T>::lanes <= slots; n += Vector<T>::lanes) step(Vector<T>{}, n, de, da);
    for (; n < slots; ++n) step(One<T>{}, n, de_rest, da_rest);
#pragma GCC unroll 4
    for (int r = 0; r < Rows; ++r) {
        derase[h * width + m + r] = total<T>(de[r]) + de_rest[r];
        dadd[h * width + m + r] = total<T>(da[r]) + da_rest[r];
    }
}

// Sets derase and dadd; memory_backward computes the gradient of the memory.
template <class T>
inline void write_backward(index heads, index slots, index width, const T* before, const T* weights, const T* erase,
                           const T* add, const T* dmemory, T* dweights, T* derase, T* dadd) {
    for (index h = 0; h < heads; ++h) {
        const auto rows = [=](auto at_once, index m) {
            for_heads(heads, [=](auto few) {
                write_rows_backward<T, at_once, few>(h, heads, slots, width, m, before, weights, erase, add, dmemory,
                                                     dweights, derase, dadd);
            });
        };
        index m = 0;
        for (; m + 4 <= width; m += 4) rows(Count<4>{}, m);
        for (; m < width; ++m) rows(Count<1>{}, m);
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
