// The stages of one step of a DNC (Graves et al. 2016, Methods), each with its backward beside it.
//
// As in memories.hpp, all are of one sequence, and a backward adds to the gradients of the arguments, unless its
// comment says that it sets them. links.hpp has temporal memory linkage.
#pragma once

#include <algorithm>

#include "../cpu/memories.hpp"

namespace ntm {
namespace {

constexpr double least_link = 1e-6;  // functional.dnc.LEAST_LINK

// Dynamic memory allocation: how much of each slot is not freed.
template <class T>
inline void retention(index heads, index slots, const T* free, const T* looks, T* kept) {
    std::fill_n(kept, slots, T(1));
    for (index h = 0; h < heads; ++h)
#pragma omp simd
        for (index n = 0; n < slots; ++n) kept[n] *= T(1) - free[h] * looks[h * slots + n];
}

// Sets dfree; `others` is scratch for one number per slot.
template <class T>
inline void retention_backward(index heads, index slots, const T* free, const T* looks, const T* dkept, T* dfree,
                               T* dlooks, T* others) {
    for (index h = 0; h < heads; ++h) {
        std::copy_n(dkept, slots, others);
        for (index k = 0; k < heads; ++k)
            if (k != h)
#pragma omp simd
                for (index n = 0; n < slots; ++n) others[n] *= T(1) - free[k] * looks[k * slots + n];
        dfree[h] = -dot(slots, others, looks + h * slots);
#pragma omp simd
        for (index n = 0; n < slots; ++n) dlooks[h * slots + n] -= free[h] * others[n];
    }
}

// `after` may be `before`.
template <class T>
inline void update_usage(index slots, const T* before, const T* weights, const T* kept, T* after) {
#pragma omp simd
    for (index n = 0; n < slots; ++n) after[n] = (before[n] + (T(1) - before[n]) * weights[n]) * kept[n];
}

// Replaces dusage by the gradient of the usage before, and sets dweights, that of the write weighting before.
template <class T>
inline void update_usage_backward(index slots, const T* __restrict before, const T* __restrict weights,
                                  const T* __restrict kept, T* __restrict dusage, T* __restrict dweights,
                                  T* __restrict dkept) {
#pragma omp simd
    for (index n = 0; n < slots; ++n) {
        const T dwritten = dusage[n] * kept[n];
        dkept[n] += dusage[n] * (before[n] + (T(1) - before[n]) * weights[n]);
        dusage[n] = dwritten * (T(1) - weights[n]);
        dweights[n] = dwritten * (T(1) - before[n]);
    }
}

// The allocation weighting of slots in the order of their usage.
template <class T>
inline void allocate(index slots, const T* order, const T* usage, T* weights) {
    T before = 1;
    for (index k = 0; k < slots; ++k) {
        const index n = index(order[k]);
        weights[n] = (T(1) - usage[n]) * before;
        before *= usage[n];
    }
}

// Nothing is divided by: `products` are those of the usages before each slot, scratch for one number per slot.
template <class T>
inline void allocate_backward(index slots, const T* order, const T* usage, const T* dweights, T* dusage, T* products) {
    T before = 1;
    for (index k = 0; k < slots; ++k) {
        products[k] = before;
        before *= usage[index(order[k])];
    }
    T after = 0;  // of the product of the usages up to this slot
    for (index k = slots - 1; k >= 0; --k) {
        const index n = index(order[k]);
        dusage[n] += products[k] * (after - dweights[n]);
        after = dweights[n] * (T(1) - usage[n]) + usage[n] * after;
    }
}

// The write weighting.
template <class T>
inline void mix_write(index slots, T allocation_gate, T write_gate, const T* allocation, const T* content, T* weights) {
#pragma omp simd
    for (index n = 0; n < slots; ++n)
        weights[n] = write_gate * (content[n] + allocation_gate * (allocation[n] - content[n]));
}

// Sets all but dweights.
template <class T>
inline void mix_write_backward(index slots, T allocation_gate, T write_gate, const T* allocation, const T* content,
                               const T* dweights, T* dallocation_gate, T* dwrite_gate, T* dallocation, T* dcontent) {
    *dwrite_gate = sum_of<T>(slots, [=](auto kind, index n) {
        using V = decltype(kind);
        const auto found = V::load(content + n);
        return V::load(dweights + n) * (found + allocation_gate * (V::load(allocation + n) - found));
    });
    *dallocation_gate = write_gate * sum_of<T>(slots, [=](auto kind, index n) {
        using V = decltype(kind);
        return V::load(dweights + n) * (V::load(allocation + n) - V::load(content + n));
    });
#pragma omp simd
    for (index n = 0; n < slots; ++n) {
        dallocation[n] = write_gate * allocation_gate * dweights[n];
        dcontent[n] = write_gate * (T(1) - allocation_gate) * dweights[n];
    }
}

// De-allocation of Csordas and Schmidhuber.
template <class T>
inline void deallocate(index slots, index width, const T* memory, const T* kept, T* after) {
    for (index m = 0; m < width; ++m)
#pragma omp simd
        for (index n = 0; n < slots; ++n) after[m * slots + n] = memory[m * slots + n] * kept[n];
}

// Replaces dmemory, as after a write, by the gradient before it.
template <class T>
inline void erase_backward(index slots, index width, const T* weights, const T* erase, T* dmemory) {
    for (index m = 0; m < width; ++m)
#pragma omp simd
        for (index n = 0; n < slots; ++n) dmemory[m * slots + n] *= T(1) - weights[n] * erase[m];
}

// Replaces dmemory by the gradient of the memory before it was freed.
template <class T>
inline void deallocate_backward(index slots, index width, const T* memory, const T* kept, T* dmemory, T* dkept) {
    for (index m = 0; m < width; ++m)
#pragma omp simd
        for (index n = 0; n < slots; ++n) {
            dkept[n] += dmemory[m * slots + n] * memory[m * slots + n];
            dmemory[m * slots + n] *= kept[n];
        }
}

// p = (1 - sum of w) p + w; `after` may be `before`.
template <class T>
inline void update_precedence(index slots, const T* before, const T* weights, T* after) {
    const T left = T(1) - sum(slots, weights);
#pragma omp simd
    for (index n = 0; n < slots; ++n) after[n] = left * before[n] + weights[n];
}

// Replaces dprecedence by the gradient of the precedence before.
template <class T>
inline void update_precedence_backward(index slots, const T* before, const T* weights, T* dprecedence, T* dweights) {
    const T left = T(1) - sum(slots, weights), along = dot(slots, before, dprecedence);
#pragma omp simd
    for (index n = 0; n < slots; ++n) {
        dweights[n] += dprecedence[n] - along;
        dprecedence[n] *= left;
    }
}

// Sharpness control of Csordas and Schmidhuber. `relative` and `logs` are for the backward; returns the sum of the
// powers. `sharpened` may be `weights`.
template <class T>
inline T sharpen_links(index slots, T sharpness, const T* weights, T* sharpened, T* __restrict relative,
                       T* __restrict logs) {
    T largest = T(least_link);
    for (index n = 0; n < slots; ++n) largest = weights[n] > largest ? weights[n] : largest;
#pragma omp simd
    for (index n = 0; n < slots; ++n) {
        relative[n] = weights[n] / largest;
        logs[n] = log(relative[n] + T(epsilon));
        sharpened[n] = relative[n] * exp((sharpness - T(1)) * logs[n]);
    }
    const T all = sum(slots, sharpened), share = T(1) / (all < T(1) ? T(1) : all);
#pragma omp simd
    for (index n = 0; n < slots; ++n) sharpened[n] *= share;
    return all;
}

// Replaces dsharpened by the gradient of the weights, and returns that of the sharpness. The largest weight has no
// gradient of its own as a divisor: it cancels in the division by the sum.
template <class T>
inline T sharpen_links_backward(index slots, T sharpness, const T* __restrict weights, const T* __restrict sharpened,
                                const T* __restrict relative, const T* __restrict logs, T all,
                                T* __restrict dsharpened) {
    const T along = all < T(1) ? T(0) : dot(slots, sharpened, dsharpened);
    const T share = T(1) / (all < T(1) ? T(1) : all);
    T largest = T(least_link), dsharpness = 0;
    for (index n = 0; n < slots; ++n) largest = weights[n] > largest ? weights[n] : largest;
    for (index n = 0; n < slots; ++n) {
        const T dpower = (dsharpened[n] - along) * share, power = exp((sharpness - T(1)) * logs[n]);
        dsharpness += dpower * relative[n] * power * logs[n];
        dsharpened[n] =
            dpower * power * (T(1) + (sharpness - T(1)) * relative[n] / (relative[n] + T(epsilon))) / largest;
    }
    return dsharpness;
}

// The read weighting of one head: a mixture by modes of the weightings backward, by content and forward. `weights` may
// be one of them.
template <class T>
inline void mix_read(index slots, const T* modes, const T* backward, const T* content, const T* forward, T* weights) {
#pragma omp simd
    for (index n = 0; n < slots; ++n)
        weights[n] = modes[0] * backward[n] + modes[1] * content[n] + modes[2] * forward[n];
}

// Sets all but dweights.
template <class T>
inline void mix_read_backward(index slots, const T* modes, const T* backward, const T* content, const T* forward,
                              const T* __restrict dweights, T* dmodes, T* __restrict dbackward, T* __restrict dcontent,
                              T* __restrict dforward) {
    dmodes[0] = dot(slots, backward, dweights);
    dmodes[1] = dot(slots, content, dweights);
    dmodes[2] = dot(slots, forward, dweights);
#pragma omp simd
    for (index n = 0; n < slots; ++n) {
        dbackward[n] = modes[0] * dweights[n];
        dcontent[n] = modes[1] * dweights[n];
        dforward[n] = modes[2] * dweights[n];
    }
}

}  // namespace
}  // namespace ntm
