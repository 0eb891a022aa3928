// The arguments of the program for stacks and tapes: sizes, and pointers to arrays.
//
// `layout.py` has the same fields in the same order. When a field is added, removed or moved, or its meaning changes,
// raise `layout` in both files. The caller compares it and the sizes of the structs before the first call.
#pragma once

#include <cstdint>

#include "../cpu/products.hpp"

namespace ntm {
namespace {

constexpr std::int64_t layout = 2;  // LAYOUT in layout.py

struct Sizes {
    static constexpr index line = 16;  // LINE in layout.py
    static index padded(index count) { return (count + line - 1) / line * line; }

    index batch, time, hidden, memories, slots, width;
    index tape;     // 1: tapes; 0: stacks
    index actions;  // 3; 5: tapes whose heads also jump
    index writer;   // units of each hidden layer of the writer; 0: the layer `heads` gives the vectors to write
    index keep;     // 1: save the memory of every step for the backward

    index reads() const { return memories * width; }
    index recurrent() const { return reads() + hidden; }
    index logits() const { return actions * memories; }
    index of_heads() const { return logits() + (writer ? 0 : reads()); }
    // Where the vectors to write begin in the interface. What a layer computes there has whole vectors of numbers.
    index vectors() const { return writer ? padded(logits()) : logits(); }
    index interface() const { return padded(of_heads()) + (writer ? padded(reads()) : 0); }
    index memory() const { return slots * width; }
    // The row of `memory` before step t; without gradients two rows alternate.
    index row(index t) const { return keep ? t : t % 2; }
};

// The layer of a weight. Of the layers that compute the interface, the transpose and the bias are padded with zeros.
template <class T>
struct Weight {
    const T* weight;
    const T* turned;
    const T* bias;
};

template <class T>
struct Arrays {
    const T* driven;        // time, batch, hidden: products with the inputs, and the bias
    const T* weight;        // hidden, recurrent
    const T* turned;        // recurrent, hidden
    Weight<T> heads;        // of_heads, hidden
    Weight<T> writers[3];   // writer, hidden; writer, writer; reads, writer
    const index* jumps;     // batch: cells of a jump, at least 0 and less than slots; null where there are none
    T* recurrent;           // time + 1, batch, recurrent: reads and hidden units before each step; the first are given
    T* interface;           // time, batch, interface: weights of the actions; the vectors to write
    T* written[2];          // time, batch, writer: hidden units of the writer
    T* memory;              // time + 1 or 2, batch, memories, slots, width: before each step; the first are given
    const T* dcontrolled;   // batch, time, hidden
    T* dsums;               // time, batch, hidden: gradients before tanh
    T* dinterface;          // time, batch, interface: before the softmax
    T* dwritten[2];         // time, batch, writer: before the ReLU
    T* drecurrent;          // batch, recurrent: in, of the last hidden units; out, of the first
    T* dmemory;             // batch, memories, slots, width: in, of the last; out, of the first
};

}  // namespace
}  // namespace ntm
