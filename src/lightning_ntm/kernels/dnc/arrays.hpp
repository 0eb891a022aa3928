// The arguments of the program for DNCs: sizes, and pointers to arrays.
//
// `layout.py` has the same fields in the same order. When a field is added, removed or moved, or its meaning changes,
// raise `layout` in both files. The caller compares it and the sizes of the structs before the first call.
#pragma once

#include <cstdint>

#include "../cpu/sequences.hpp"

namespace ntm {
namespace {

constexpr std::int64_t layout = 3;  // LAYOUT in layout.py

struct Sizes : ControlledSizes {
    index masking, deallocation, sharpening;  // 1 or 0
    double mask_floor;

    index link_size() const { return slots * slots; }
    index looks_size() const { return reads * slots; }
    index emitted() const {
        return (reads + 3) * width + reads + 2 + (masking ? (reads + 1) * width : 0) + reads + 1 +
               (sharpening ? 2 * reads : 0) + 3 * reads;
    }
};

// The tensors of a DNCState, or their gradients. Without an LSTM the last two are empty.
template <class T>
struct State {
    T* memory;         // batch, slots, width
    T* usage;          // batch, slots
    T* precedence;     // batch, slots
    T* link;           // batch, slots, slots
    T* write_weights;  // batch, slots
    T* read_weights;   // batch, reads, slots
    T* reads;          // batch, reads, width
    T* hidden;         // batch, layers, hidden
    T* cell;           // batch, layers, hidden
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
    T* link;                 // saved_memories, batch, slots, slots
    T* precedence;           // saved_memories, batch, slots
    T* usage;                // time + 1, batch, slots
    T* write_weights;        // time + 1, batch, slots
    T* read_weights;         // time + 1, batch, reads, slots
    T* order;                // time, batch, slots: numbers of slots by usage
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
