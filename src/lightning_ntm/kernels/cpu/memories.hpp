// Addressing by content, reading and writing, for the programs of all networks; each with its backward beside it.
//
// All are of one sequence. The memory is transposed, width x slots, so that every loop runs along the slots. A
// backward takes the gradients of the results of its stage and adds to those of the arguments, unless its comment says
// that it sets them.
#pragma once

#include <cmath>

#include "numerics.hpp"
#include "products.hpp"

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

// The cosine of the unit key to each slot. `scales` are one over the length of each slot.
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

// Sets dunits, and replaces dcosine by the gradient of the products of units and slots. The caller adds the rest
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

// The sum of all slots by the weights of each head.
template <class T>
inline void read(index heads, index slots, index width, const T* memory, const T* weights, T* reads) {
    for (index h = 0; h < heads; ++h) dots(width, slots, weights + h * slots, memory, reads + h * width);
}

// The caller adds the gradient of the memory, dreads times the weights.
template <class T>
inline void read_backward(index heads, index slots, index width, const T* memory, const T* dreads, T* dweights) {
    linear(heads, width, slots, dreads, memory, dweights, {width, slots, slots}, true);
}

// All heads erase, then all heads add. `after` may be `before`; `scales` are those of `after`.
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

// Sets derase and dadd; the caller computes the gradient of the memory.
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

}  // namespace
}  // namespace ntm
