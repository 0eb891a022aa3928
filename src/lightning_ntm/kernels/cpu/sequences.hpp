// A controller and a memory over whole sequences, forward and backward, for a group of sequences at a time.
//
// The output layer, which needs no recurrence, is in objectives.hpp: it runs here only where the loss is known, too.
//
// Arguments and results have the batch first, as in the models. Saved arrays are time-major, (time, batch, ...); the
// state after step t is at t + 1. Without gradients nothing is saved: all steps use the same rows.
//
// A network defines `Memory<T>`, which runs the memory of a group:
// - `Sizes`, a ControlledSizes with `emitted()`, and `Arrays`, its arguments;
// - `group(sizes)`, the most sequences that a thread runs at once;
// - `begin(g)`, `step(t, g, reads)` and `end(g)` for sequence g of the batch, and `prepare(t)` before each step;
// - `begin_backward(g)`, `step_backward(t, g)`, `end_backward(g)` and `prepare_backward(t)`. A step takes the gradient
//   of its reads from `dfirst.reads`.
#pragma once

#include <algorithm>

#include "caches.hpp"
#include "controllers.hpp"
#include "objectives.hpp"
#include "threads.hpp"

namespace ntm {
namespace {

// The sizes that all networks have; layout.py has the same fields.
struct ControlledSizes {
    static constexpr index line = 16;  // LINE in layout.py

    index batch, time, inputs, hidden, layers, slots, width, reads;
    index recurrent;  // 1: LSTM layers; 0: feed-forward layers
    index keep;       // 1: save every step for the backward
    index every;      // steps from one saved memory to the next

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
    index output() const { return hidden + read_size(); }
    index at(index step, index sequence, index size) const { return ((keep ? step * batch : 0) + sequence) * size; }
    index always_at(index step, index sequence, index size) const { return (step * batch + sequence) * size; }
    index saved_memories() const { return keep ? (time + every - 1) / every : 0; }
};

// Runs some sequences of the batch over all steps.
template <class T, class Memory>
class Group {
   public:
    using Sizes = typename Memory::Sizes;
    using Arrays = typename Memory::Arrays;

    Group(const Sizes& sizes, const Layer<T>* layers, const Arrays& arrays, index first, index count)
        : s(sizes), layers(layers), a(arrays), first(first), count(count), memory(sizes, layers, arrays, first, count) {}

    void forward() {
        for (index g = first; g < first + count; ++g) begin(g);
        for (index t = 0; t < s.time; ++t) {
            memory.prepare(t);
            for (index g = first; g < first + count; ++g)
                std::copy_n(a.input + (g * s.time + t) * s.inputs, s.inputs, layers[0].input + s.at(t, g, s.inner(0)));
            for (index layer = 0; layer < s.layers; ++layer) control(t, layer);
            T* emitted = a.emitted + s.at(t, first, s.emitted());
            for (index g = 0; g < count; ++g) begin_emitted(t, g, emitted + g * s.emitted());
            linear(count, s.hidden, s.emitted(), a.output + s.always_at(t, first, s.output()), a.heads_turned, emitted,
                   {s.output(), s.emitted(), s.emitted()}, true);
            for (index g = first; g < first + count; ++g) {
                T* reads = a.output + s.always_at(t, g, s.output()) + s.hidden;
                memory.step(t, g, reads);
                std::copy_n(reads, s.read_size(), layers[0].input + s.at(t + 1, g, s.inner(0)) + s.inputs);
            }
        }
        for (index g = first; g < first + count; ++g) end(g);
    }

    void backward() {
        dcontrolled.resize(count * s.hidden);
        dlayer_input.resize(count * std::max(s.stride(0), s.stride(1)));
        for (index g = first; g < first + count; ++g) begin_backward(g);
        for (index t = s.time - 1; t >= 0; --t) {
            memory.prepare_backward(t);
            for (index g = 0; g < count; ++g) {
                const T* doutput = a.doutput ? a.doutput + s.always_at(t, first + g, s.output()) : nullptr;
                T* dreads = a.dfirst.reads + (first + g) * s.read_size();
                for (index i = 0; doutput && i < s.read_size(); ++i) dreads[i] += doutput[s.hidden + i];
                memory.step_backward(t, first + g);
                copy_or_zero(doutput, 0, s.hidden, dcontrolled.data() + g * s.hidden);
            }
            linear(count, s.emitted(), s.hidden, a.demitted + s.at(t, first, s.emitted()), a.heads_weight,
                   dcontrolled.data(), {s.emitted(), s.hidden, s.hidden}, true);
            for (index layer = s.layers - 1; layer >= 0; --layer) control_backward(t, layer);
        }
        for (index g = first; a.dfirst.memory && g < first + count; ++g) memory.end_backward(g);
    }

   private:
    // Begins an interface vector with what does not depend on the controller.
    void begin_emitted(index t, index g, T* emitted) const {
        std::copy_n(a.heads_bias, s.emitted(), emitted);
        const T* noise = a.noise ? a.noise + s.always_at(t, first + g, s.emitted()) : nullptr;
        for (index i = 0; noise && i < s.emitted(); ++i) emitted[i] += noise[i];
    }

    index layer_at(index g, index layer) const { return (g * s.layers + layer) * s.hidden; }

    // Copies the initial state of a sequence.
    void begin(index g) {
        memory.begin(g);
        std::copy_n(a.first.reads + g * s.read_size(), s.read_size(),
                    layers[0].input + s.at(0, g, s.inner(0)) + s.inputs);
        for (index layer = 0; s.recurrent && layer < s.layers; ++layer) {
            const Layer<T>& l = layers[layer];
            std::copy_n(a.first.hidden + layer_at(g, layer), s.hidden,
                        l.input + s.at(0, g, s.inner(layer)) + s.below(layer));
            std::copy_n(a.first.cell + layer_at(g, layer), s.hidden, l.cell + s.at(0, g, s.hidden));
        }
    }

    // Copies the last state of a sequence, where it is asked for.
    void end(index g) {
        for (index layer = 0; s.keep && layer < s.layers; ++layer)  // inputs of the step after the last are never read
            std::fill_n(layers[layer].input + s.at(s.time, g, s.inner(layer)), layer ? s.hidden : s.inputs, T(0));
        if (!a.last.memory) return;
        memory.end(g);
        std::copy_n(layers[0].input + s.at(s.time, g, s.inner(0)) + s.inputs, s.read_size(),
                    a.last.reads + g * s.read_size());
        for (index layer = 0; s.recurrent && layer < s.layers; ++layer) {
            const Layer<T>& l = layers[layer];
            std::copy_n(l.input + s.at(s.time, g, s.inner(layer)) + s.below(layer), s.hidden,
                        a.last.hidden + layer_at(g, layer));
            std::copy_n(l.cell + s.at(s.time, g, s.hidden), s.hidden, a.last.cell + layer_at(g, layer));
        }
    }

    // `dfirst` holds the gradient of the state during the backward.
    void begin_backward(index g) {
        const index states = s.layers * s.hidden;
        memory.begin_backward(g);
        copy_or_zero(a.dlast.reads, g * s.read_size(), s.read_size(), a.dfirst.reads + g * s.read_size());
        if (!s.recurrent) return;
        copy_or_zero(a.dlast.hidden, g * states, states, a.dfirst.hidden + g * states);
        copy_or_zero(a.dlast.cell, g * states, states, a.dfirst.cell + g * states);
    }

    // Runs one layer of the controller for the whole group.
    void control(index t, index layer) {
        const Layer<T>& l = layers[layer];
        const index inner = s.inner(layer), gates = s.gates();
        T* rows = l.gates + s.at(t, first, gates);
        for (index g = 0; g < count; ++g) std::copy_n(l.bias, gates, rows + g * gates);
        linear(count, inner, gates, l.input + s.at(t, first, inner), l.arranged, rows, {inner, gates, gates}, true);
        for (index g = first; g < first + count; ++g) {
            // The hidden state is an input of this layer's next step and of the layer above; that of the last layer is
            // the output.
            const bool top = layer + 1 == s.layers;
            T* hidden = top ? a.output + s.always_at(t, g, s.output())
                            : layers[layer + 1].input + s.at(t, g, s.inner(layer + 1));
            T* activated = l.gates + s.at(t, g, gates);
            if (s.recurrent) {
                lstm_step(s.hidden, activated, l.cell + s.at(t, g, s.hidden), l.cell + s.at(t + 1, g, s.hidden),
                          hidden);
                std::copy_n(hidden, s.hidden, l.input + s.at(t + 1, g, inner) + s.below(layer));
            } else {
                for (index i = 0; i < s.hidden; ++i) hidden[i] = activated[i] = tanh(activated[i]);
            }
        }
    }

    // Replaces `dcontrolled`, the gradient of the layer's output, by that of the output of the layer below.
    void control_backward(index t, index layer) {
        const Layer<T>& l = layers[layer];
        const index stride = s.stride(layer), gates = s.gates(), below = s.below(layer);
        for (index g = 0; g < count; ++g) {
            const index sequence = first + g;
            T* dh = dcontrolled.data() + g * s.hidden;
            T* dgates = l.dgates + s.at(t, sequence, gates);
            const T* activated = l.gates + s.at(t, sequence, gates);
            if (s.recurrent) {
                const T* dnext = a.dfirst.hidden + layer_at(sequence, layer);
                for (index i = 0; i < s.hidden; ++i) dh[i] += dnext[i];
                lstm_step_backward(s.hidden, activated, l.cell + s.at(t, sequence, s.hidden),
                                   l.cell + s.at(t + 1, sequence, s.hidden), dh,
                                   a.dfirst.cell + layer_at(sequence, layer), dgates);
            } else {
                for (index i = 0; i < s.hidden; ++i) dgates[i] = dh[i] * (T(1) - activated[i] * activated[i]);
            }
        }
        const index skip = layer || a.dinput ? 0 : s.inputs / ControlledSizes::line * ControlledSizes::line;
        linear(count, gates, stride - skip, l.dgates + s.at(t, first, gates), l.arranged + skip,
               dlayer_input.data() + skip, {gates, stride, stride}, false);
        for (index g = 0; g < count; ++g) {
            const T* from = dlayer_input.data() + g * stride;
            const index sequence = first + g;
            if (layer) {
                std::copy_n(from, s.hidden, dcontrolled.data() + g * s.hidden);
            } else {
                if (a.dinput) std::copy_n(from, s.inputs, a.dinput + (sequence * s.time + t) * s.inputs);
                std::copy_n(from + s.inputs, s.read_size(), a.dfirst.reads + sequence * s.read_size());
            }
            if (s.recurrent) std::copy_n(from + below, s.hidden, a.dfirst.hidden + layer_at(sequence, layer));
        }
    }

    const Sizes& s;
    const Layer<T>* layers;
    const Arrays& a;
    const index first, count;
    Memory memory;
    Numbers<T> dcontrolled, dlayer_input;
};

// Sequences that a thread runs at once, so that each weight is loaded once for all; more do not fit into the cache.
constexpr index group_size = 8;

// Gradients of the weights of all layers, of the heads, and of the output layer if the loss is known. Each thread
// computes some rows of each.
template <class T, class Sizes, class Arrays>
void weight_gradients(const Sizes& s, const Layer<T>* layers, const Arrays& a, const Objective<T>* objective,
                      index threads) {
    const index steps = s.time * s.batch;
    share_out((s.layers + (objective ? 2 : 1)) * threads, threads, [&](index number) {
        const WithoutDenormals while_working;
        const index layer = number / threads;
        const index outputs = layer < s.layers ? s.gates() : layer == s.layers ? s.emitted() : objective->outputs();
        const index share = ((outputs + threads - 1) / threads + rows_at_once - 1) / rows_at_once * rows_at_once;
        const index first = std::min(outputs, number % threads * share), rows = std::min(share, outputs - first);
        if (layer < s.layers) {
            const Layer<T>& l = layers[layer];
            const index inner = s.inner(layer);
            weight_gradient(first, rows, steps, outputs, inner, l.dgates, l.input, inner, l.dweight, l.dbias);
        } else if (layer == s.layers) {
            weight_gradient(first, rows, steps, outputs, s.hidden, a.demitted, a.output, s.output(), a.dheads_weight,
                            a.dheads_bias);
        } else {
            const Places<T>& p = objective->places();
            weight_gradient(first, rows, steps, outputs, s.output(), p.dlogits, a.output, s.output(), p.dweight,
                            p.dbias);
        }
    });
}

// Arranges the weights as the products of each step read them.
template <class T, class Sizes, class Arrays>
void arrange(const Sizes& s, const Layer<T>* layers, const Arrays& a, bool backward) {
    for (index layer = 0; layer < s.layers; ++layer) {
        const index inner = s.inner(layer), gates = s.gates();
        const T* weight = layers[layer].weight;
        T* arranged = layers[layer].arranged;
        if (!backward) transpose(gates, inner, weight, inner, arranged);
        for (index row = 0; backward && row < gates; ++row) {
            T* padding = std::copy_n(weight + row * inner, inner, arranged + row * s.stride(layer));
            std::fill_n(padding, s.stride(layer) - inner, T(0));
        }
    }
    if (!backward) transpose(s.emitted(), s.hidden, a.heads_weight, s.hidden, a.heads_turned);
}

// Runs all sequences in one direction, and after a forward the output layer and the loss, where there is one.
template <class T, class Memory>
void run(const typename Memory::Sizes& s, const Layer<T>* layers, const typename Memory::Arrays& a,
         Objective<T>* objective, index threads, bool backward) {
    arrange(s, layers, a, backward);
    const index size = std::min(Memory::group(s), (s.batch + threads - 1) / threads);
    share_out((s.batch + size - 1) / size, threads, [&](index number) {
        const WithoutDenormals while_working;
        const index first = number * size, count = std::min(size, s.batch - first);
        Group<T, Memory> group(s, layers, a, first, count);
        backward ? group.backward() : group.forward();
        if (objective && !backward) objective->evaluate(a.output, first, count);
    });
    if (backward) weight_gradients(s, layers, a, objective, threads);
}

}  // namespace
}  // namespace ntm
