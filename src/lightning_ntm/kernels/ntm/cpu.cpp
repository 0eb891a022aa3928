// A whole sequence of an NTM, forward and backward, for a group of sequences at a time.
//
// The output layer, which needs no recurrence, is not part of this file.
//
// Arguments and results have the batch first, as in the models. Saved arrays are time-major, (time, batch, ...); the
// state after step t is at t + 1. The memory is transposed, width x slots. It is the largest array of a step, and
// computing it again is faster than loading it from main memory: it is saved before one step in `every`, and the
// backward computes those between. Without gradients nothing is saved: all steps use the same rows.
//
// This file is compiled once for each instruction set; NTM_ISA gives the entry points their names.

#include <algorithm>
#include <exception>

#include "../cpu/caches.hpp"
#include "../cpu/controllers.hpp"
#include "../cpu/threads.hpp"
#include "arrays.hpp"
#include "interface.hpp"
#include "stages.hpp"

namespace ntm {
namespace {

// Runs some sequences of the batch over all steps.
template <class T>
class Group {
   public:
    Group(const Sizes& sizes, const Layer<T>* layers, const Arrays<T>& arrays, index first, index count)
        : s(sizes), parts(sizes), layers(layers), a(arrays), first(first), count(count),
          units(sizes.heads() * sizes.width), ring(sizes.slots + 2 * sizes.max_shift), logs(sizes.slots),
          shifted(sizes.slots) {}

    void forward() {
        present.resize(count * s.scaled_size());
        for (index g = first; g < first + count; ++g) begin(g);
        for (index t = 0; t < s.time; ++t) {
            if (s.keep && t + 1 < s.time) prefetch_step(ahead, t + 1, 1);
            for (index g = first; g < first + count; ++g)
                std::copy_n(a.input + (g * s.time + t) * s.inputs, s.inputs, layers[0].input + s.at(t, g, s.inner(0)));
            for (index layer = 0; layer < s.layers; ++layer) control(t, layer);
            T* emitted = a.emitted + s.at(t, first, s.emitted());
            for (index g = 0; g < count; ++g) std::copy_n(a.heads_bias, s.emitted(), emitted + g * s.emitted());
            linear(count, s.hidden, s.emitted(), a.output + s.always_at(t, first, s.output()), a.heads_turned, emitted,
                   {s.output(), s.emitted(), s.emitted()}, true);
            for (index g = first; g < first + count; ++g) address_and_access(t, g);
        }
        for (index g = first; g < first + count; ++g) end(g);
    }

    void backward() {
        dmemory.resize(count * s.memory_size());
        rewritten.resize((s.every - 1) * count * s.scaled_size());
        dcontrolled.resize(count * s.hidden);
        dlayer_input.resize(count * std::max(s.stride(0), s.stride(1)));
        for (index g = first; g < first + count; ++g) begin_backward(g);
        for (index t = s.time - 1; t >= 0; --t) {
            if (t) prefetch_step(back, t - 1, 0);
            if (t == s.time - 1 || (t + 1) % s.every == 0) write_again(t);
            for (index g = 0; g < count; ++g) {
                address_and_access_backward(t, first + g);
                copy_or_zero(a.doutput, s.always_at(t, first + g, s.output()), s.hidden,
                             dcontrolled.data() + g * s.hidden);
            }
            linear(count, s.emitted(), s.hidden, a.demitted + s.at(t, first, s.emitted()), a.heads_weight,
                   dcontrolled.data(), {s.emitted(), s.hidden, s.hidden}, true);
            for (index layer = s.layers - 1; layer >= 0; --layer) control_backward(t, layer);
        }
        for (index g = 0; g < count; ++g)
            transpose(s.width, s.slots, dmemory.data() + g * s.memory_size(), s.slots,
                      a.dfirst.memory + (first + g) * s.memory_size());
    }

   private:
    index layer_at(index g, index layer) const { return (g * s.layers + layer) * s.hidden; }

    // The memory before step t: a saved one, or the one array that all other steps share.
    T* memory_at(index t, index g) {
        const bool saved = s.keep && t % s.every == 0 && t < s.time;
        return saved ? a.memory + s.saved_memory_at(t / s.every, g) : present.data() + (g - first) * s.scaled_size();
    }

    // The memory before step t in the backward, after `write_again`.
    T* memory_again(index t, index g) {
        const index after = t % s.every;
        return after ? rewritten.data() + ((after - 1) * count + g - first) * s.scaled_size()
                     : a.memory + s.saved_memory_at(t / s.every, g);
    }

    // Computes the memories between the last saved one and the one before step t.
    void write_again(index t) {
        for (index g = first; g < first + count; ++g)
            for (index step = t / s.every * s.every; step < t; ++step)
                write(step, g, memory_again(step, g), memory_again(step + 1, g));
    }

    void write(index t, index g, const T* before, T* after) {
        const T* activated = a.activated + s.at(t, g, s.emitted());
        const T* weights = a.weights + s.at(t + 1, g, s.heads() * s.slots) + s.reads * s.slots;
        ntm::write(s.writes, s.slots, s.width, before, weights, activated + parts.erase, activated + parts.add, after,
                   after + s.memory_size());
    }

    // Copies the initial state of a sequence.
    void begin(index g) {
        const index weights_size = s.heads() * s.slots;
        T* memory = memory_at(0, g);
        transpose(s.slots, s.width, a.first.memory + g * s.memory_size(), s.width, memory);
        slot_scales(s.slots, s.width, memory, memory + s.memory_size());
        std::copy_n(a.first.weights + g * weights_size, weights_size, a.weights + s.at(0, g, weights_size));
        std::copy_n(a.first.reads + g * s.read_size(), s.read_size(),
                    layers[0].input + s.at(0, g, s.inner(0)) + s.inputs);
        for (index layer = 0; s.recurrent && layer < s.layers; ++layer) {
            const Layer<T>& l = layers[layer];
            std::copy_n(a.first.hidden + layer_at(g, layer), s.hidden,
                        l.input + s.at(0, g, s.inner(layer)) + s.below(layer));
            std::copy_n(a.first.cell + layer_at(g, layer), s.hidden, l.cell + s.at(0, g, s.hidden));
        }
    }

    // Copies the last state of a sequence.
    void end(index g) {
        const index weights_size = s.heads() * s.slots;
        transpose(s.width, s.slots, memory_at(s.time, g), s.slots, a.last.memory + g * s.memory_size());
        std::copy_n(a.weights + s.at(s.time, g, weights_size), weights_size, a.last.weights + g * weights_size);
        std::copy_n(layers[0].input + s.at(s.time, g, s.inner(0)) + s.inputs, s.read_size(),
                    a.last.reads + g * s.read_size());
        for (index layer = 0; s.keep && layer < s.layers; ++layer)  // inputs of the step after the last are never read
            std::fill_n(layers[layer].input + s.at(s.time, g, s.inner(layer)), layer ? s.hidden : s.inputs, T(0));
        for (index layer = 0; s.recurrent && layer < s.layers; ++layer) {
            const Layer<T>& l = layers[layer];
            std::copy_n(l.input + s.at(s.time, g, s.inner(layer)) + s.below(layer), s.hidden,
                        a.last.hidden + layer_at(g, layer));
            std::copy_n(l.cell + s.at(s.time, g, s.hidden), s.hidden, a.last.cell + layer_at(g, layer));
        }
    }

    // `dfirst` holds the gradient of the state during the backward, except that of the memory.
    void begin_backward(index g) {
        const index weights_size = s.heads() * s.slots, states = s.layers * s.hidden;
        T* dm = dmemory.data() + (g - first) * s.memory_size();
        if (a.dlast.memory)
            transpose(s.slots, s.width, a.dlast.memory + g * s.memory_size(), s.width, dm);
        else
            std::fill_n(dm, s.memory_size(), T(0));
        copy_or_zero(a.dlast.weights, g * weights_size, weights_size, a.dfirst.weights + g * weights_size);
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
        const index skip = layer || a.dinput ? 0 : s.inputs / Sizes::line * Sizes::line;
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

    // All heads address the memory before this step's writes; then reads, then writes.
    void address_and_access(index t, index g) {
        const index heads = s.heads(), slots = s.slots, width = s.width;
        T* activated = a.activated + s.at(t, g, s.emitted());
        activate(s, parts, a.emitted + s.at(t, g, s.emitted()), activated);
        const T* memory = memory_at(t, g);
        T* cosine = a.cosine + s.at(t, g, heads * slots);
        for (index h = 0; h < heads; ++h)
            unit_key(width, activated + parts.key + h * width, units.data() + h * width);
        cosines(heads, slots, width, memory, units.data(), memory + s.memory_size(), cosine);
        T *weights = a.weights + s.at(t + 1, g, heads * slots), *gated = ring.data() + s.max_shift;
        for (index h = 0; h < heads; ++h) {
            T* content = a.content + s.at(t, g, heads * slots) + h * slots;
            softmax(slots, activated[parts.strength + h], cosine + h * slots, content);
            ahead.fetch();
            const T* previous = a.weights + s.at(t, g, heads * slots) + h * slots;
            interpolate(slots, activated[parts.gate + h], previous, content, gated);
            close_ring(slots, s.max_shift, gated);
            ahead.fetch();
            shift(slots, s.max_shift, activated + parts.moves + h * s.moves(), gated, shifted.data());
            sharpen(slots, activated[parts.sharpening + h], shifted.data(), logs.data(), weights + h * slots);
        }
        ahead.fetch();
        T* reads = a.output + s.always_at(t, g, s.output()) + s.hidden;
        read(s.reads, slots, width, memory, weights, reads);
        std::copy_n(reads, s.read_size(), layers[0].input + s.at(t + 1, g, s.inner(0)) + s.inputs);
        ahead.fetch();
        write(t, g, memory, memory_at(t + 1, g));
    }

    // Prefetches the saved arrays of step t; `after` is 1 for weightings after the step, 0 for those before.
    template <int Written>
    void prefetch_step(Ahead<T, Written>& ahead, index t, index after) const {
        const index weights_size = count * s.heads() * s.slots, memory = count * s.scaled_size();
        for (index layer = 0; layer < s.layers; ++layer)
            ahead.add(layers[layer].gates + s.at(t, first, s.gates()), count * s.gates());
        for (T* part : {a.content, a.cosine}) ahead.add(part + s.at(t, first, s.heads() * s.slots), weights_size);
        ahead.add(a.weights + s.at(t + after, first, s.heads() * s.slots), weights_size);
        // The next or the previous saved memory, an equal part of it in each step between.
        const index number = t / s.every + (after ? 1 : -1), part = memory / s.every;
        if (number >= 0 && number < s.saved_memories())
            ahead.add(a.memory + s.saved_memory_at(number, first) + t % s.every * part, part);
        ahead.spread(count * (4 + 2 * s.heads()));
    }

    void address_and_access_backward(index t, index g) {
        const index heads = s.heads(), slots = s.slots, width = s.width;
        const T* emitted = a.emitted + s.at(t, g, s.emitted());
        T* dactivated = a.demitted + s.at(t, g, s.emitted());
        const T* activated = a.activated + s.at(t, g, s.emitted());
        const T* memory = memory_again(t, g);
        const T* weights = a.weights + s.at(t + 1, g, heads * slots);
        const T* cosine = a.cosine + s.at(t, g, heads * slots);
        T* dm = dmemory.data() + (g - first) * width * slots;
        T* dweights = a.dfirst.weights + g * heads * slots;
        T* dreads = a.dfirst.reads + g * s.read_size();

        write_backward(s.writes, slots, width, memory, weights + s.reads * slots, activated + parts.erase,
                       activated + parts.add, dm, dweights + s.reads * slots, dactivated + parts.erase,
                       dactivated + parts.add);
        const T* doutput = a.doutput ? a.doutput + s.always_at(t, g, s.output()) + s.hidden : nullptr;
        back.fetch();
        for (index i = 0; doutput && i < s.read_size(); ++i) dreads[i] += doutput[i];
        read_backward(s.reads, slots, width, memory, dreads, dweights);
        limit(heads * slots, T(s.limit), dweights);

        back.fetch();
        dcosine.resize(heads * slots);
        dring.resize(slots + 2 * s.max_shift);
        dgated.resize(slots);
        dunits.resize(heads * width);
        T *gated = ring.data() + s.max_shift, *dshifted = dring.data() + s.max_shift;
        for (index h = 0; h < heads; ++h) {
            const T* content = a.content + s.at(t, g, heads * slots) + h * slots;
            const T* previous = a.weights + s.at(t, g, heads * slots) + h * slots;
            const T* moves = activated + parts.moves + h * s.moves();
            const T gate = activated[parts.gate + h];
            T* dcontent = logs.data();
            interpolate(slots, gate, previous, content, gated);
            close_ring(slots, s.max_shift, gated);
            shift(slots, s.max_shift, moves, gated, shifted.data());
#pragma omp simd
            for (index n = 0; n < slots; ++n) logs[n] = log(shifted[n] + T(epsilon));
            back.fetch();
            dactivated[parts.sharpening + h] =
                sharpen_backward(slots, activated[parts.sharpening + h], shifted.data(), logs.data(),
                                 weights + h * slots, dweights + h * slots, dshifted);
            close_ring(slots, s.max_shift, dshifted);
            shift_backward(slots, s.max_shift, moves, gated, dshifted, dactivated + parts.moves + h * s.moves(),
                           dgated.data());
            dactivated[parts.gate + h] = interpolate_backward(slots, gate, previous, content, dgated.data(),
                                                              dweights + h * slots, dcontent);
            back.fetch();
            dactivated[parts.strength + h] =
                softmax_backward(slots, activated[parts.strength + h], cosine + h * slots, content, dcontent,
                                 dcosine.data() + h * slots);
        }
        Numbers<T>& key_norms = dgated;  // no longer needed
        key_norms.resize(std::max(slots, heads));
        for (index h = 0; h < heads; ++h)
            key_norms[h] = unit_key(width, activated + parts.key + h * width, units.data() + h * width);
        back.fetch();
        T* shrink = dshifted;
        cosines_backward(heads, slots, width, memory, memory + s.memory_size(), cosine, dcosine.data(), dunits.data(),
                         shrink);
        back.fetch();
        memory_backward(s.reads, s.writes, slots, width, memory, weights, activated + parts.erase, dreads,
                        units.data(), dcosine.data(), shrink, dm);
        for (index h = 0; h < heads; ++h)
            unit_key_backward(width, key_norms[h], units.data() + h * width, dunits.data() + h * width,
                              dactivated + parts.key + h * width);
        back.fetch();
        activate_backward(s, parts, emitted, activated, dactivated);
    }

    const Sizes& s;
    const Parts parts;
    const Layer<T>* layers;
    const Arrays<T>& a;
    const index first, count;
    Numbers<T> units, ring, logs, shifted, present, rewritten;
    Numbers<T> dcosine, dring, dgated, dunits, dmemory, dcontrolled, dlayer_input;
    Ahead<T, 0> back;
    Ahead<T, 1> ahead;
};

// Sequences that a thread runs at once, so that each weight is loaded once for all; more do not fit into the cache.
constexpr index group_size = 8;

// Gradients of the weights of all layers and of the heads. Each thread computes some rows of each.
template <class T>
void weight_gradients(const Sizes& s, const Layer<T>* layers, const Arrays<T>& a, index threads) {
    const index steps = s.time * s.batch;
    share_out((s.layers + 1) * threads, threads, [&](index number) {
        const WithoutDenormals while_working;
        const index layer = number / threads;
        const index outputs = layer < s.layers ? s.gates() : s.emitted();
        const index share = ((outputs + threads - 1) / threads + rows_at_once - 1) / rows_at_once * rows_at_once;
        const index first = std::min(outputs, number % threads * share), rows = std::min(share, outputs - first);
        if (layer < s.layers) {
            const Layer<T>& l = layers[layer];
            const index inner = s.inner(layer);
            weight_gradient(first, rows, steps, outputs, inner, l.dgates, l.input, inner, l.dweight, l.dbias);
        } else {
            weight_gradient(first, rows, steps, outputs, s.hidden, a.demitted, a.output, s.output(), a.dheads_weight,
                            a.dheads_bias);
        }
    });
}

// Arranges the weights as the products of each step read them.
template <class T>
void arrange(const Sizes& s, const Layer<T>* layers, const Arrays<T>& a, bool backward) {
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

template <class T>
void run(const Sizes& s, const Layer<T>* layers, const Arrays<T>& a, index threads, bool backward) {
    arrange(s, layers, a, backward);
    const index size = std::min(group_size, (s.batch + threads - 1) / threads);
    share_out((s.batch + size - 1) / size, threads, [&](index number) {
        const WithoutDenormals while_working;
        const index first = number * size;
        Group<T> group(s, layers, a, first, std::min(size, s.batch - first));
        backward ? group.backward() : group.forward();
    });
    if (backward) weight_gradients(s, layers, a, threads);
}

// Returns 0, or 1 if memory is exhausted: no exception may leave C++.
template <class T>
int guarded(const void* sizes, const void* layers, const void* arrays, index threads, int backward) {
    try {
        run(*static_cast<const Sizes*>(sizes), static_cast<const Layer<T>*>(layers),
            *static_cast<const Arrays<T>*>(arrays), threads, backward);
        return 0;
    } catch (const std::exception&) {
        return 1;
    }
}

}  // namespace
}  // namespace ntm

#define NTM_JOIN(a, b) a##_##b
#define NTM_ENTRY(name, isa) NTM_JOIN(name, isa)

extern "C" {
// The elementary functions, for tests: 0 exp, 1 log, 2 tanh, 3 sigmoid, 4 softplus.
NTM_EXPORT void NTM_ENTRY(ntm_function, NTM_ISA)(int which, ntm::index n, const float* x, float* y) {
    for (ntm::index i = 0; i < n; ++i)
        y[i] = which == 0   ? ntm::exp(x[i])
               : which == 1 ? ntm::log(x[i])
               : which == 2 ? ntm::tanh(x[i])
               : which == 3 ? ntm::sigmoid(x[i])
                            : ntm::softplus(x[i]);
}
// The version of the layout and the sizes of the structs, which the caller compares with its own.
NTM_EXPORT const std::int64_t* NTM_ENTRY(ntm_layout, NTM_ISA)() {
    static const std::int64_t known[] = {ntm::layout, sizeof(ntm::Sizes), sizeof(ntm::Layer<float>),
                                         sizeof(ntm::Arrays<float>)};
    return known;
}
NTM_EXPORT int NTM_ENTRY(ntm_float, NTM_ISA)(const void* sizes, const void* layers, const void* arrays,
                                             ntm::index threads, int backward) {
    return ntm::guarded<float>(sizes, layers, arrays, threads, backward);
}
NTM_EXPORT int NTM_ENTRY(ntm_double, NTM_ISA)(const void* sizes, const void* layers, const void* arrays,
                                              ntm::index threads, int backward) {
    return ntm::guarded<double>(sizes, layers, arrays, threads, backward);
}
}
