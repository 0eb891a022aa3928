// The arguments of the program for NTMs: sizes, and pointers to arrays.
//
// `layout.py` has the same fields in the same order. When a field is added, removed or moved, or its meaning changes,
// raise `layout` in both files. The caller compares it and the sizes of the structs before the first call.
#pragma once

#include <cstdint>

#include "../cpu/sequences.hpp"

namespace ntm {
namespace {

constexpr std::int64_t layout = 5;  // LAYOUT in layout.py

struct Sizes : ControlledSizes {
    index writes, max_shift;
    double limit;  // bound on each number of the gradient of a weighting; 0: none
    double least_sharpening;

    index heads() const { return reads + writes; }
    index moves() const { return 2 * max_shift + 1; }
    index emitted() const { return heads() * (width + 1 + 2 + moves()) + 2 * writes * width; }
    index saved_memory_at(index number, index sequence) const { return always_at(number, sequence, scaled_size()); }
};

// The tensors of an NTMState, or their gradients. Without an LSTM the last two are empty.
template <class T>
struct State {
    T* memory;   // batch, slots, width
    T* weights;  // batch, heads, slots
    T* reads;    // batch, reads, width
    T* hidden;   // batch, layers, hidden
    T* cell;     // batch, layers, hidden
};

template <class T>
struct Arrays {
    const T* input;          // batch, time, inputs
    const T* heads_weight;   // emitted, hidden
    const T* heads_bias;     // emitted
    T* heads_turned;         // hidden, emitted: the weight transposed, set before the forward
    const T* noise;          // time, batch, emitted: added to the interface vectors; null for none
    T* output;               // time, batch, output: controller and reads
    T* emitted;              // time, batch, emitted: interface vectors
    T* activated;            // time, batch, emitted: after the activations
    T* memory;               // saved_memories, batch, width + 1, slots; the last row is the scales of the slots
    T* weights;              // time + 1, batch, heads, slots
    T* cosine;               // time, batch, heads, slots
    T* content;              // time, batch, heads, slots
    State<T> first, last;    // forward: input, and result, which is not needed if its memory is null
    const T* doutput;        // time, batch, output; null for zeros
    T* demitted;             // time, batch, emitted
    T* dheads_weight;        // emitted, hidden
    T* dheads_bias;          // emitted
    T* dinput;               // batch, time, inputs; null if not needed
    // Backward: result, and input. Null in dlast means zeros; with a null memory in dfirst its gradient is not needed.
    State<T> dfirst, dlast;
};

}  // namespace
}  // namespace ntm
