// Addressing by content of some heads, with the masks of Csordas and Schmidhuber or without.
#pragma once

#include <cmath>

#include "../cpu/caches.hpp"
#include "../cpu/memories.hpp"

namespace ntm {
namespace {

template <class T>
class Lookup {
   public:
    // What the heads look for. `masks` is null without masking.
    struct Query {
        index heads;
        const T *keys, *masks, *strengths;
    };

    Lookup(index heads, index slots, index width, bool masking)
        : slots(slots), width(width), units(heads * width), norms(heads), cosine(heads * slots), found(heads * slots),
          dcosine(heads * slots), dunits(heads * width), shrink(heads * slots) {
        if (!masking) return;
        for (Numbers<T>* part : {&masked, &probes, &squared_masks}) part->resize(heads * width);
        for (Numbers<T>* part : {&squares, &sums}) part->resize(width * slots);
        scales.resize(heads * slots);
    }

    // Returns the weightings of a memory with its scales: heads, slots.
    const T* forward(const Query& q, const T* memory) {
        for (index h = 0; h < q.heads; ++h) {
            const T* key = q.keys + h * width;
            for (index i = h * width; q.masks && i < (h + 1) * width; ++i) masked[i] = q.keys[i] * q.masks[i];
            norms[h] = unit_key(width, q.masks ? masked.data() + h * width : key, units.data() + h * width);
        }
        if (q.masks) {
            mask(q, memory);
            linear(q.heads, width, slots, probes.data(), memory, cosine.data(), {width, slots, slots}, false);
            for (index i = 0; i < q.heads * slots; ++i) cosine[i] *= scales[i];
        } else {
            cosines(q.heads, slots, width, memory, units.data(), memory + slots * width, cosine.data());
        }
        for (index h = 0; h < q.heads; ++h)
            softmax(slots, q.strengths[h], cosine.data() + h * slots, found.data() + h * slots);
        return found.data();
    }

    // After a forward of the same query: takes the gradients of the weightings, and sets those of keys, masks and
    // strengths.
    void backward(const Query& q, const T* memory, const T* dfound, T* dkeys, T* dmasks, T* dstrengths, T* dmemory) {
        for (index h = 0; h < q.heads; ++h)
            dstrengths[h] = softmax_backward(slots, q.strengths[h], cosine.data() + h * slots, found.data() + h * slots,
                                             dfound + h * slots, dcosine.data() + h * slots);
        if (q.masks)
            masked_backward(q, memory, dmasks, dmemory);
        else
            plain_backward(q, memory, dmemory);
        const T* directions = q.masks ? probes.data() : units.data();
        linear(width, q.heads, slots, directions, dcosine.data(), dmemory, {1, slots, slots, width}, true);
        for (index h = 0; h < q.heads; ++h)
            unit_key_backward(width, norms[h], units.data() + h * width, dunits.data() + h * width, dkeys + h * width);
        for (index i = 0; q.masks && i < q.heads * width; ++i) {
            dmasks[i] += dkeys[i] * q.keys[i];
            dkeys[i] *= q.masks[i];
        }
    }

   private:
    // Each mask makes other lengths of the slots.
    void mask(const Query& q, const T* memory) {
        for (index i = 0; i < q.heads * width; ++i) {
            probes[i] = units[i] * q.masks[i];
            squared_masks[i] = q.masks[i] * q.masks[i];
        }
        for (index i = 0; i < width * slots; ++i) squares[i] = memory[i] * memory[i];
        std::fill_n(scales.data(), q.heads * slots, T(epsilon));
        linear(q.heads, width, slots, squared_masks.data(), squares.data(), scales.data(), {width, slots, slots}, true);
        scales_of_squares(q.heads * slots, scales.data());
    }

    void plain_backward(const Query& q, const T* memory, T* dmemory) {
        cosines_backward(q.heads, slots, width, memory, memory + slots * width, cosine.data(), dcosine.data(),
                         dunits.data(), shrink.data());
        for (index m = 0; m < width; ++m)
#pragma omp simd
            for (index n = 0; n < slots; ++n) dmemory[m * slots + n] += shrink[n] * memory[m * slots + n];
    }

    void masked_backward(const Query& q, const T* memory, T* dmasks, T* dmemory) {
        for (index i = 0; i < q.heads * slots; ++i) {
            dcosine[i] *= scales[i];
            shrink[i] = -dcosine[i] * cosine[i] * scales[i];
        }
        for (index h = 0; h < q.heads; ++h) {
            dots(width, slots, dcosine.data() + h * slots, memory, dunits.data() + h * width);
            dots(width, slots, shrink.data() + h * slots, squares.data(), dmasks + h * width);
        }
        for (index i = 0; i < q.heads * width; ++i) {
            dmasks[i] = dmasks[i] * q.masks[i] + dunits[i] * units[i];
            dunits[i] *= q.masks[i];
        }
        linear(width, q.heads, slots, squared_masks.data(), shrink.data(), sums.data(), {1, slots, slots, width},
               false);
        for (index i = 0; i < width * slots; ++i) dmemory[i] += sums[i] * memory[i];
    }

    const index slots, width;
    Numbers<T> units, norms, cosine, found, dcosine, dunits, shrink;
    Numbers<T> masked, probes, squared_masks, squares, sums, scales;
};

}  // namespace
}  // namespace ntm
