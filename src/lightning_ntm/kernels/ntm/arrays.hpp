// The arguments of the program for NTMs: sizes, and pointers to arrays.
//
// `layout.py` has the same fields in the same order. When a field is added, removed or moved, or its meaning changes,
// raise `layout` in both files. The caller compares it and the sizes of the structs before the first call.
#pragma once

#include <cstdint>

#include "../cpu/controllers.hpp"

namespace ntm {
namespace {

constexpr std::int64_t layout = 1;  // LAYOUT in layout.py

struct Sizes {
    static constexpr index line = 16;  // LINE in layout.py

    index batch, time, inputs, hidden, layers, slots, width, reads, writes, max_shift;
    index recurrent;  // 1: LSTM layers; 0: feed-forward layers
    index keep;       // 1: save every step for the backward
    index every;      // steps from one saved memory to the next
    double limit;     // bound on each number of the gradient of a weighting; 0: none

    index heads() const { return reads + writes; }
    index moves() const { return 2 * max_shift + 1; }
    index gates() const { return (recurrent ? 4 : 1) * hidden; }
    index read_size() const { return reads * width; }
    index memory_size() const { return slots * width; }
    index scaled_size() const { return slots * (width + 1); }  // with the scales of the slots as a last row
    // The input of a layer: the output of the layer below (for the first, the input and the reads), then its own
    // last hidden state.
    index below(index layer) const { return layer ? hidden : inputs + read_size(); }
    index inner(index layer) const { return below(layer) + (recurrent ? hidden : 0); }
    // Row stride of the weight in the backward, padded so that no vector crosses two cache lines.
    index stride(index layer) const { return (inner(layer) + line - 1) / line * line; }
    index emitted() const { return heads() * (width + 1 + 2 + moves()) + 2 * writes * width; }
    index output() const { return hidden + read_size(); }
    index at(index step, index sequence, index size) const { return ((keep ? step * batch : 0) + sequence) * size; }
    index always_at(index step, index sequence, index size) const { return (step * batch + sequence) * size; }
    index saved_memories() const { return keep ? (time + every - 1) / every : 0; }
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
    T* output;               // time, batch, output: controller and reads
    T* emitted;              // time, batch, emitted: interface vectors
    T* activated;            // time, batch, emitted: after the activations
    T* memory;               // saved_memories, batch, width + 1, slots; the last row is the scales of the slots
    T* weights;              // time + 1, batch, heads, slots
    T* cosine;               // time, batch, heads, slots
    T* content;              // time, batch, heads, slots
    State<T> first, last;    // forward: input, and result
    const T* doutput;        // time, batch, output; null for zeros
    T* demitted;             // time, batch, emitted
    T* dheads_weight;        // emitted, hidden
    T* dheads_bias;          // emitted
    T* dinput;               // batch, time, inputs; null if not needed
    State<T> dfirst, dlast;  // backward: result, and input; null in dlast means zeros
};

}  // namespace
}  // namespace ntm
