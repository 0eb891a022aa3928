// What the program for NTMs takes from its caller: sizes, and pointers to arrays.
//
// `layout.py` has the same fields in the same order. When a field is added, removed or moved, or its meaning changes,
// `layout` is raised in both files; the caller compares it and the sizes of the structs before the first call.
#pragma once

#include <cstdint>

#include "../cpu/controllers.hpp"

namespace ntm {
namespace {

constexpr std::int64_t layout = 1;  // LAYOUT in layout.py

struct Sizes {
    static constexpr index line = 16;  // LINE in layout.py

    index batch, time, inputs, hidden, layers, slots, width, reads, writes, reach;
    index recurrent;  // 1: LSTM layers; 0: feed-forward layers
    index keep;       // 1: keep every step for the backward
    index every;      // steps from one memory that is kept to the next
    double limit;     // of each number of the gradient of a weighting, to either side; 0: none

    index heads() const { return reads + writes; }
    index moves() const { return 2 * reach + 1; }
    index gates() const { return (recurrent ? 4 : 1) * hidden; }
    index read_size() const { return reads * width; }
    index memory_size() const { return slots * width; }
    index scaled_size() const { return slots * (width + 1); }  // with the scales of the slots as a last row
    // What a layer is given: from below (to the first one, the input and what was read), then its own hidden state.
    index below(index layer) const { return layer ? hidden : inputs + read_size(); }
    index inner(index layer) const { return below(layer) + (recurrent ? hidden : 0); }
    // From row to row of the weight that the backward takes: no vector of it lies across two lines of the cache.
    index stride(index layer) const { return (inner(layer) + line - 1) / line * line; }
    index emitted() const { return heads() * (width + 1 + 2 + moves()) + 2 * writes * width; }
    index output() const { return hidden + read_size(); }
    index at(index step, index sequence, index size) const { return ((keep ? step * batch : 0) + sequence) * size; }
    index always_at(index step, index sequence, index size) const { return (step * batch + sequence) * size; }
    index kept() const { return keep ? (time + every - 1) / every : 0; }  // memories
    index kept_at(index number, index sequence) const { return always_at(number, sequence, scaled_size()); }
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
    T* heads_turned;         // hidden, emitted: the weight, set before the forward
    T* output;               // time, batch, output: controller and reads
    T* emitted;              // time, batch, emitted
    T* told;                 // time, batch, emitted: after its activations
    T* memory;               // kept, batch, width + 1, slots: before every so manyth step; the scales of slots last
    T* weights;              // time + 1, batch, heads, slots
    T* cosine;               // time, batch, heads, slots
    T* content;              // time, batch, heads, slots
    State<T> first, last;    // forward: taken, and set
    const T* doutput;        // time, batch, output; null for zeros
    T* demitted;             // time, batch, emitted
    T* dheads_weight;        // emitted, hidden
    T* dheads_bias;          // emitted
    T* dinput;               // batch, time, inputs; null where nobody asks
    State<T> dfirst, dlast;  // backward: set, and taken; any of dlast may be null for zeros
};

}  // namespace
}  // namespace ntm
