// The stages of one step of an NTM (Graves et al. 2014, section 3), each with its backward beside it.
//
// All are of one sequence. The memory stands transposed, width x slots, so that every loop runs along
// the slots. A backward is given gradients of what its stage returned and adds to those of what it took,
// unless it says that it sets them.
#pragma once

#include <cmath>

#include "numerics.hpp"
#include "products.hpp"

namespace ntm {
namespace {

constexpr double epsilon = 1e-12;  // functional.EPSILON

template <class T>
inline T sum(index n, const T* x) {
    T total = 0;
#pragma omp simd reduction(+ : total)
    for (index i = 0; i < n; ++i) total += x[i];
    return total;
}

// y = softmax(scale * x); y may be x.
template <class T>
inline void softmax(index n, T scale, const T* x, T* y) {
    T largest = scale * x[0];
#pragma omp simd reduction(max : largest)
    for (index i = 0; i < n; ++i) {
        const T value = scale * x[i];
        largest = value > largest ? value : largest;
    }
    T total = 0;
#pragma omp simd reduction(+ : total)
    for (index i = 0; i < n; ++i) {
        y[i] = exp(scale * x[i] - largest);
        total += y[i];
    }
    const T share = T(1) / total;
#pragma omp simd
    for (index i = 0; i < n; ++i) y[i] *= share;
}

// Sets dx to the gradient of x, and returns that of scale.
template <class T>
inline T softmax_backward(index n, T scale, const T* __restrict x, const T* __restrict y, const T* __restrict dy,
                          T* __restrict dx) {
    const T mean = dot(n, y, dy);
    T dscale = 0;
#pragma omp simd reduction(+ : dscale)
    for (index i = 0; i < n; ++i) {
        const T dz = y[i] * (dy[i] - mean);
        dscale += dz * x[i];
        dx[i] = scale * dz;
    }
    return dscale;
}

// Equation 6: the cosine of the unit key to each slot; `norms` gets the length of each slot.
template <class T>
inline void slot_norms(index slots, index width, const T* __restrict memory, T* __restrict norms) {
    for (index n = 0; n < slots; ++n) norms[n] = T(epsilon);
    for (index m = 0; m < width; ++m)
#pragma omp simd
        for (index n = 0; n < slots; ++n) norms[n] += memory[m * slots + n] * memory[m * slots + n];
#pragma omp simd
    for (index n = 0; n < slots; ++n) norms[n] = std::sqrt(norms[n]);
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
inline void cosines(index heads, index slots, index width, const T* memory, const T* units, const T* norms, T* cosine) {
    linear(heads, width, slots, units, memory, cosine, {width, slots, slots}, false);
    for (index h = 0; h < heads; ++h)
#pragma omp simd
        for (index n = 0; n < slots; ++n) cosine[h * slots + n] /= norms[n];
}

// Sets dunits, and turns dcosine into the gradient of the products of units and slots. The rest of the memory's
// gradient, `shrink` times the memory and the units times dcosine, is added by memory_backward.
template <class T>
inline void cosines_backward(index heads, index slots, index width, const T* __restrict memory,
                             const T* __restrict norms, const T* __restrict cosine, T* __restrict dcosine,
                             T* __restrict dunits, T* __restrict shrink) {
    for (index n = 0; n < slots; ++n) shrink[n] = 0;
    for (index h = 0; h < heads; ++h) {
#pragma omp simd
        for (index n = 0; n < slots; ++n) {
            dcosine[h * slots + n] /= norms[n];
            shrink[n] -= dcosine[h * slots + n] * cosine[h * slots + n] / norms[n];
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
inline T interpolate_backward(index slots, T gate, const T* __restrict previous, const T* __restrict content,
                              const T* __restrict dgated, T* __restrict dprevious, T* __restrict dcontent) {
    T dgate = 0;
#pragma omp simd reduction(+ : dgate)
    for (index n = 0; n < slots; ++n) {
        dgate += dgated[n] * (content[n] - previous[n]);
        dprevious[n] = (T(1) - gate) * dgated[n];
        dcontent[n] = gate * dgated[n];
    }
    return dgate;
}

// Equation 8: moves[i] is the share that moves by i - reach slots.
template <class T>
inline void shift(index slots, index reach, const T* moves, const T* __restrict gated, T* __restrict shifted) {
    for (index n = 0; n < slots; ++n) shifted[n] = 0;
    for (index i = -reach; i <= reach; ++i) {
        const T share = moves[i + reach];
        const index low = i > 0 ? i : 0, high = i > 0 ? slots : slots + i;  // n - i is a slot without wrapping
#pragma omp simd
        for (index n = low; n < high; ++n) shifted[n] += share * gated[n - i];
        for (index n = 0; n < low; ++n) shifted[n] += share * gated[n - i + slots];
        for (index n = high; n < slots; ++n) shifted[n] += share * gated[n - i - slots];
    }
}

// Sets dmoves and dgated.
template <class T>
inline void shift_backward(index slots, index reach, const T* moves, const T* __restrict gated,
                           const T* __restrict dshifted, T* dmoves, T* __restrict dgated) {
    for (index n = 0; n < slots; ++n) dgated[n] = 0;
    for (index i = -reach; i <= reach; ++i) {
        const T share = moves[i + reach];
        const index low = i > 0 ? i : 0, high = i > 0 ? slots : slots + i;
        T dshare = 0;
#pragma omp simd reduction(+ : dshare)
        for (index n = low; n < high; ++n) dshare += dshifted[n] * gated[n - i];
#pragma omp simd
        for (index n = low; n < high; ++n) dgated[n - i] += share * dshifted[n];
        for (index n = 0; n < low; ++n) {
            dshare += dshifted[n] * gated[n - i + slots];
            dgated[n - i + slots] += share * dshifted[n];
        }
        for (index n = high; n < slots; ++n) {
            dshare += dshifted[n] * gated[n - i - slots];
            dgated[n - i - slots] += share * dshifted[n];
        }
        dmoves[i + reach] = dshare;
    }
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

// Equation 2.
template <class T>
inline void read(index heads, index slots, index width, const T* memory, const T* weights, T* reads) {
    for (index h = 0; h < heads; ++h) dots(width, slots, weights + h * slots, memory, reads + h * width);
}

// The memory's gradient, dreads times the weights, is added by memory_backward.
template <class T>
inline void read_backward(index heads, index slots, index width, const T* memory, const T* dreads, T* dweights) {
    linear(heads, width, slots, dreads, memory, dweights, {width, slots, slots}, true);
}

// Equations 3 and 4: all heads erase, then all heads add. `after` may be `before`; `norms` gets the length of each
// slot after it.
template <class T>
inline void write(index heads, index slots, index width, const T* before, const T* weights, const T* erase,
                  const T* add, T* after, T* norms) {
    for (index n = 0; n < slots; ++n) norms[n] = T(epsilon);
    for (index m = 0; m < width; ++m)
        along<T>(slots, [=](auto kind, index n) {
            using V = decltype(kind);
            auto slot = V::load(before + m * slots + n);
            for (index h = 0; h < heads; ++h) slot -= slot * (V::load(weights + h * slots + n) * erase[h * width + m]);
            for (index h = 0; h < heads; ++h) slot += V::load(weights + h * slots + n) * add[h * width + m];
            V::store(after + m * slots + n, slot);
            V::store(norms + n, V::load(norms + n) + slot * slot);
        });
#pragma omp simd
    for (index n = 0; n < slots; ++n) norms[n] = std::sqrt(norms[n]);
}

// `Rows` rows of the memory in write_backward, from row m, for head h.
template <class T, int Rows>
inline void write_rows_backward(index h, index heads, index slots, index width, index m, const T* before,
                                const T* weights, const T* erase, const T* add, const T* dmemory, T* dweights,
                                T* derase, T* dadd) {
    typename Vector<T>::type de[Rows] = {}, da[Rows] = {};
    T de_rest[Rows] = {}, da_rest[Rows] = {};
    const auto step = [=](auto kind, index n, auto* de, auto* da) {
        using V = decltype(kind);
        const auto w = V::load(weights + h * slots + n);
        auto dw = V::load(dweights + h * slots + n);
        for (int r = 0; r < Rows; ++r) {
            const auto dm = V::load(dmemory + (m + r) * slots + n);
            auto left = V::load(before + (m + r) * slots + n);  // by the other heads
            for (index other = 0; other < heads; ++other)
                if (other != h) left -= left * (V::load(weights + other * slots + n) * erase[other * width + m + r]);
            const auto dforgotten = dm * left;
            de[r] -= dforgotten * w;
            da[r] += dm * w;
            dw += dm * add[h * width + m + r] - dforgotten * erase[h * width + m + r];
        }
        V::store(dweights + h * slots + n, dw);
    };
    along<T>(slots, [&](auto kind, index n) {
        if constexpr (decltype(kind)::lanes > 1)
            step(kind, n, de, da);
        else
            step(kind, n, de_rest, da_rest);
    });
    for (int r = 0; r < Rows; ++r) {
        derase[h * width + m + r] = total<T>(de[r]) + de_rest[r];
        dadd[h * width + m + r] = total<T>(da[r]) + da_rest[r];
    }
}

// Sets derase and dadd; the memory's gradient passes what was kept, in memory_backward.
template <class T>
inline void write_backward(index heads, index slots, index width, const T* before, const T* weights, const T* erase,
                           const T* add, const T* dmemory, T* dweights, T* derase, T* dadd) {
    for (index h = 0; h < heads; ++h) {
        index m = 0;
        for (; m + 4 <= width; m += 4)
            write_rows_backward<T, 4>(h, heads, slots, width, m, before, weights, erase, add, dmemory, dweights, derase,
                                      dadd);
        for (; m < width; ++m)
            write_rows_backward<T, 1>(h, heads, slots, width, m, before, weights, erase, add, dmemory, dweights, derase,
                                      dadd);
    }
}

// Turns dmemory from the gradient of the memory after a step into that of the memory before: what the writes
// kept of it, what was read, and what the cosines looked at.
template <class T>
inline void memory_backward(index reads, index writes, index slots, index width, const T* memory, const T* weights,
                            const T* erase, const T* dreads, const T* units, const T* dcosine, const T* shrink,
                            T* dmemory) {
    for (index m = 0; m < width; ++m)
        along<T>(slots, [=](auto kind, index n) {
            using V = decltype(kind);
            auto dm = V::load(dmemory + m * slots + n);
            for (index h = 0; h < writes; ++h)
                dm -= dm * (V::load(weights + (reads + h) * slots + n) * erase[h * width + m]);
            dm += V::load(shrink + n) * V::load(memory + m * slots + n);
            for (index h = 0; h < reads; ++h) dm += dreads[h * width + m] * V::load(weights + h * slots + n);
            for (index h = 0; h < reads + writes; ++h) dm += units[h * width + m] * V::load(dcosine + h * slots + n);
            V::store(dmemory + m * slots + n, dm);
        });
}

}  // namespace
}  // namespace ntm
