// A whole sequence of an NTM, forward and backward, for a group of sequences at a time.
//
// Outside of this file stand the products that need no recurrence: the input's share of the first layer,
// the output layer, and the gradients of all weights (one product each, from what is saved here).
//
// Arrays are time-major: (time, batch, ...). What a step leaves for the next stands at time + 1. The memory
// is kept transposed, width x slots. Without gradients nothing is kept but the present: all steps share one.
//
// This file is compiled once for each instruction set; NTM_NAME gives the entry points their names.

#include <algorithm>
#include <thread>
#include <vector>

#if defined(__SSE2__)
#include <xmmintrin.h>
#endif

#include "stages.hpp"

namespace ntm {
namespace {

struct Sizes {
    index batch, time, hidden, layers, slots, width, reads, writes, reach;
    index recurrent;  // 1: LSTM layers; 0: feed-forward layers
    index keep;       // 1: keep every step for the backward
    index threads;

    index heads() const { return reads + writes; }
    index moves() const { return 2 * reach + 1; }
    index gates() const { return (recurrent ? 4 : 1) * hidden; }
    index read_size() const { return reads * width; }
    // What a layer is given, without the network's input: what is below it, then its own hidden state.
    index below(index layer) const { return layer ? hidden : read_size(); }
    index inner(index layer) const { return below(layer) + (recurrent ? hidden : 0); }
    index emitted() const { return heads() * (width + 1 + 2 + moves()) + 2 * writes * width; }
    index at(index step, index sequence, index size) const { return ((keep ? step * batch : 0) + sequence) * size; }
};

// One layer of the controller: its weights, and what is kept of its steps.
template <class T>
struct Layer {
    const T* forward;   // inner x gates
    const T* backward;  // gates x inner
    const T* bias;      // gates; null for the first layer, whose share of the input has it
    T* given;           // time + 1, batch, inner
    T* gates;           // time, batch, gates: after their activations
    T* cell;            // time + 1, batch, hidden
    T* dgates;          // time, batch, gates: gradients before their activations
    T* dhidden;         // batch, hidden: in, of the last hidden state; out, of the first
    T* dcell;           // batch, hidden
};

template <class T>
struct Arrays {
    const T* input;             // time, batch, gates: the input's share of the first layer, with its bias
    const T* heads_forward;     // hidden x emitted
    const T* heads_backward;    // emitted x hidden
    const T* heads_bias;        // emitted
    T* output;                  // time, batch, hidden + read_size: controller and reads
    T* emitted;                 // time, batch, emitted
    T* memory;                  // time + 1, batch, width, slots
    T* weights;                 // time + 1, batch, heads, slots
    T* cosine;                  // time, batch, heads, slots
    T* norms;                   // time, batch, slots
    T* content;                 // time, batch, heads, slots
    T* shifted;                 // time, batch, heads, slots
    T* last_hidden;             // batch, layers, hidden
    T* last_reads;              // batch, read_size
    const T* doutput;           // time, batch, hidden + read_size
    T* demitted;                // time, batch, emitted
    T* dmemory;                 // batch, width, slots: in, of the last; out, of the first
    T* dweights;                // batch, heads, slots
    T* dreads;                  // batch, read_size
};

// Where the parts of what the heads are told begin, in the order of ntm.py: tanh, sigmoid, softplus, softmax.
struct Parts {
    index key, add, gate, erase, strength, sharpening, moves;
    explicit Parts(const Sizes& s) {
        const index written = s.writes * s.width;
        key = 0;
        add = key + s.heads() * s.width;
        gate = add + written;
        erase = gate + s.heads();
        strength = erase + written;
        sharpening = strength + s.heads();
        moves = sharpening + s.heads();
    }
};

constexpr double head_limit = 20;  // ntm.HEAD_LIMIT

// What the heads are told, after its activations.
template <class T>
void activate(const Sizes& s, const Parts& parts, const T* __restrict emitted, T* __restrict told) {
    const index end = s.emitted();
    for (index i = 0; i < end; ++i) {
        const T bounded = emitted[i] > T(head_limit) ? T(head_limit) : emitted[i];
        told[i] = bounded < -T(head_limit) ? -T(head_limit) : bounded;
    }
#pragma omp simd
    for (index i = parts.key; i < parts.gate; ++i) told[i] = tanh(told[i]);
#pragma omp simd
    for (index i = parts.gate; i < parts.strength; ++i) told[i] = sigmoid(told[i]);
    for (index i = parts.strength; i < parts.sharpening; ++i) told[i] = softplus(told[i]);
    for (index i = parts.sharpening; i < parts.moves; ++i) told[i] = T(1) + softplus(told[i]);
    for (index h = 0; h < s.heads(); ++h) {
        T* moves = told + parts.moves + h * s.moves();
        softmax(s.moves(), T(1), moves, moves);
    }
}

// Turns dtold into the gradient of what was emitted.
template <class T>
void activate_backward(const Sizes& s, const Parts& parts, const T* __restrict emitted, const T* __restrict told,
                       T* __restrict dtold) {
    for (index i = parts.key; i < parts.gate; ++i) dtold[i] *= T(1) - told[i] * told[i];
    for (index i = parts.gate; i < parts.strength; ++i) dtold[i] *= told[i] * (T(1) - told[i]);
    for (index i = parts.strength; i < parts.moves; ++i) dtold[i] *= sigmoid(emitted[i]);
    for (index h = 0; h < s.heads(); ++h) {
        const T* moves = told + parts.moves + h * s.moves();
        T* dmoves = dtold + parts.moves + h * s.moves();
        const T mean = dot(s.moves(), moves, dmoves);
        for (index i = 0; i < s.moves(); ++i) dmoves[i] = moves[i] * (dmoves[i] - mean);
    }
    for (index i = 0; i < s.emitted(); ++i)
        if (std::fabs(emitted[i]) > T(head_limit)) dtold[i] = 0;
}

template <class T>
void lstm_step(index hidden, T* __restrict gates, const T* before, T* cell, T* __restrict out) {
    T *enter = gates, *keep = gates + hidden, *candidate = gates + 2 * hidden, *leave = gates + 3 * hidden;
#pragma omp simd
    for (index i = 0; i < 2 * hidden; ++i) enter[i] = sigmoid(enter[i]);
#pragma omp simd
    for (index i = 0; i < hidden; ++i) candidate[i] = tanh(candidate[i]);
#pragma omp simd
    for (index i = 0; i < hidden; ++i) leave[i] = sigmoid(leave[i]);
#pragma omp simd
    for (index i = 0; i < hidden; ++i) {
        const T kept = keep[i] * before[i] + enter[i] * candidate[i];
        cell[i] = kept;
        out[i] = leave[i] * tanh(kept);
    }
}

// Sets dgates; turns dcell into the gradient of the cell before.
template <class T>
void lstm_step_backward(index hidden, const T* __restrict gates, const T* __restrict before, const T* __restrict cell,
                        const T* __restrict dhidden, T* __restrict dcell, T* __restrict dgates) {
    const T *enter = gates, *keep = gates + hidden, *candidate = gates + 2 * hidden, *leave = gates + 3 * hidden;
#pragma omp simd
    for (index i = 0; i < hidden; ++i) {
        const T shown = tanh(cell[i]);
        const T dc = dcell[i] + dhidden[i] * leave[i] * (T(1) - shown * shown);
        dgates[i] = dc * candidate[i] * enter[i] * (T(1) - enter[i]);
        dgates[hidden + i] = dc * before[i] * keep[i] * (T(1) - keep[i]);
        dgates[2 * hidden + i] = dc * enter[i] * (T(1) - candidate[i] * candidate[i]);
        dgates[3 * hidden + i] = dhidden[i] * shown * leave[i] * (T(1) - leave[i]);
        dcell[i] = dc * keep[i];
    }
}

// Some sequences of the batch, from the first to the last step.
template <class T>
class Group {
   public:
    Group(const Sizes& sizes, const Layer<T>* layers, const Arrays<T>& arrays, index first, index count)
        : s(sizes), parts(sizes), layers(layers), a(arrays), first(first), count(count),
          told(sizes.emitted()), units(sizes.heads() * sizes.width), gated(sizes.slots), logs(sizes.slots) {}

    void forward() {
        for (index t = 0; t < s.time; ++t) {
            for (index layer = 0; layer < s.layers; ++layer) control(t, layer);
            const index out = s.hidden + s.read_size();
            for (index g = first; g < first + count; ++g)
                std::copy_n(a.heads_bias, s.emitted(), a.emitted + s.at(t, g, s.emitted()));
            linear(count, s.hidden, s.emitted(), a.output + (t * s.batch + first) * out, out, a.heads_forward,
                   a.emitted + s.at(t, first, s.emitted()), s.emitted(), true);
            for (index g = first; g < first + count; ++g) address_and_access(t, g);
        }
    }

    void backward() {
        std::vector<T> dcontrolled(count * s.hidden), dgiven(count * (s.hidden + std::max(s.hidden, s.read_size())));
        for (index t = s.time - 1; t >= 0; --t) {
            const index out = s.hidden + s.read_size();
            for (index g = 0; g < count; ++g) {
                address_and_access_backward(t, first + g);
                std::copy_n(a.doutput + (t * s.batch + first + g) * out, s.hidden, dcontrolled.data() + g * s.hidden);
            }
            linear(count, s.emitted(), s.hidden, a.demitted + s.at(t, first, s.emitted()), s.emitted(),
                   a.heads_backward, dcontrolled.data(), s.hidden, true);
            for (index layer = s.layers - 1; layer >= 0; --layer) control_backward(t, layer, dcontrolled, dgiven);
        }
    }

   private:
    // One layer of the controller for the whole group.
    void control(index t, index layer) {
        const Layer<T>& l = layers[layer];
        const index inner = s.inner(layer), gates = s.gates(), out = s.hidden + s.read_size();
        T* rows = l.gates + s.at(t, first, gates);
        for (index g = 0; g < count; ++g) {
            const T* start = layer ? l.bias : a.input + (t * s.batch + first + g) * gates;
            std::copy_n(start, gates, rows + g * gates);
        }
        linear(count, inner, gates, l.given + s.at(t, first, inner), inner, l.forward, rows, gates, true);
        for (index g = first; g < first + count; ++g) {
            // The hidden state goes to this layer's next step, to the layer above, and from the last one out.
            const bool top = layer + 1 == s.layers;
            T* hidden = top ? a.output + (t * s.batch + g) * out
                            : layers[layer + 1].given + s.at(t, g, s.inner(layer + 1));
            T* activated = l.gates + s.at(t, g, gates);
            if (s.recurrent) {
                lstm_step(s.hidden, activated, l.cell + s.at(t, g, s.hidden), l.cell + s.at(t + 1, g, s.hidden), hidden);
                std::copy_n(hidden, s.hidden, l.given + s.at(t + 1, g, inner) + s.below(layer));
                if (t + 1 == s.time) std::copy_n(hidden, s.hidden, a.last_hidden + (g * s.layers + layer) * s.hidden);
            } else {
                for (index i = 0; i < s.hidden; ++i) hidden[i] = activated[i] = tanh(activated[i]);
            }
        }
    }

    // `dhidden` is the gradient of the layer's output, and becomes that of what is below.
    void control_backward(index t, index layer, std::vector<T>& dhidden, std::vector<T>& dgiven) {
        const Layer<T>& l = layers[layer];
        const index inner = s.inner(layer), gates = s.gates(), below = s.below(layer);
        for (index g = 0; g < count; ++g) {
            const index sequence = first + g;
            T* dh = dhidden.data() + g * s.hidden;
            T* dgates = l.dgates + s.at(t, sequence, gates);
            const T* activated = l.gates + s.at(t, sequence, gates);
            if (s.recurrent) {
                for (index i = 0; i < s.hidden; ++i) dh[i] += l.dhidden[sequence * s.hidden + i];
                lstm_step_backward(s.hidden, activated, l.cell + s.at(t, sequence, s.hidden),
                                   l.cell + s.at(t + 1, sequence, s.hidden), dh, l.dcell + sequence * s.hidden, dgates);
            } else {
                for (index i = 0; i < s.hidden; ++i) dgates[i] = dh[i] * (T(1) - activated[i] * activated[i]);
            }
        }
        linear(count, gates, inner, l.dgates + s.at(t, first, gates), gates, l.backward, dgiven.data(), inner, false);
        for (index g = 0; g < count; ++g) {
            const T* from = dgiven.data() + g * inner;
            T* to = layer ? dhidden.data() + g * s.hidden : a.dreads + (first + g) * s.read_size();
            std::copy_n(from, below, to);
            if (s.recurrent) std::copy_n(from + below, s.hidden, l.dhidden + (first + g) * s.hidden);
        }
    }

    // All heads address the memory as the step before left it; then reads, then writes.
    void address_and_access(index t, index g) {
        const index heads = s.heads(), slots = s.slots, width = s.width;
        activate(s, parts, a.emitted + s.at(t, g, s.emitted()), told.data());
        const T* memory = a.memory + s.at(t, g, width * slots);
        T* norms = a.norms + s.at(t, g, slots);
        T* cosine = a.cosine + s.at(t, g, heads * slots);
        slot_norms(slots, width, memory, norms);
        for (index h = 0; h < heads; ++h)
            unit_key(width, told.data() + parts.key + h * width, units.data() + h * width);
        cosines(heads, slots, width, memory, units.data(), norms, cosine);
        T* weights = a.weights + s.at(t + 1, g, heads * slots);
        for (index h = 0; h < heads; ++h) {
            T* content = a.content + s.at(t, g, heads * slots) + h * slots;
            T* shifted = a.shifted + s.at(t, g, heads * slots) + h * slots;
            softmax(slots, told[parts.strength + h], cosine + h * slots, content);
            interpolate(slots, told[parts.gate + h], a.weights + s.at(t, g, heads * slots) + h * slots, content,
                        gated.data());
            shift(slots, s.reach, told.data() + parts.moves + h * s.moves(), gated.data(), shifted);
            sharpen(slots, told[parts.sharpening + h], shifted, logs.data(), weights + h * slots);
        }
        T* reads = a.output + (t * s.batch + g) * (s.hidden + s.read_size()) + s.hidden;
        read(s.reads, slots, width, memory, weights, reads);
        std::copy_n(reads, s.read_size(), layers[0].given + s.at(t + 1, g, s.inner(0)));
        if (t + 1 == s.time) std::copy_n(reads, s.read_size(), a.last_reads + g * s.read_size());
        write(s.writes, slots, width, memory, weights + s.reads * slots, told.data() + parts.erase,
              told.data() + parts.add, a.memory + s.at(t + 1, g, width * slots));
    }

    void address_and_access_backward(index t, index g) {
        const index heads = s.heads(), slots = s.slots, width = s.width;
        const T* emitted = a.emitted + s.at(t, g, s.emitted());
        T* dtold = a.demitted + s.at(t, g, s.emitted());
        activate(s, parts, emitted, told.data());
        const T* memory = a.memory + s.at(t, g, width * slots);
        const T* weights = a.weights + s.at(t + 1, g, heads * slots);
        const T* norms = a.norms + s.at(t, g, slots);
        const T* cosine = a.cosine + s.at(t, g, heads * slots);
        T* dmemory = a.dmemory + g * width * slots;
        T* dweights = a.dweights + g * heads * slots;
        T* dreads = a.dreads + g * s.read_size();

        write_backward(s.writes, slots, width, memory, weights + s.reads * slots, told.data() + parts.erase,
                       told.data() + parts.add, dmemory, dweights + s.reads * slots, dtold + parts.erase,
                       dtold + parts.add, gated.data());
        const T* doutput = a.doutput + (t * s.batch + g) * (s.hidden + s.read_size()) + s.hidden;
        for (index i = 0; i < s.read_size(); ++i) dreads[i] += doutput[i];
        read_backward(s.reads, slots, width, memory, dreads, dweights);

        dcosine.resize(heads * slots);
        dshifted.resize(slots);
        dgated.resize(slots);
        dunits.resize(heads * width);
        for (index h = 0; h < heads; ++h) {
            const T* content = a.content + s.at(t, g, heads * slots) + h * slots;
            const T* shifted = a.shifted + s.at(t, g, heads * slots) + h * slots;
            const T* previous = a.weights + s.at(t, g, heads * slots) + h * slots;
            const T* moves = told.data() + parts.moves + h * s.moves();
            const T gate = told[parts.gate + h];
            T* dcontent = logs.data();
#pragma omp simd
            for (index n = 0; n < slots; ++n) logs[n] = log(shifted[n] + T(epsilon));
            dtold[parts.sharpening + h] =
                sharpen_backward(slots, told[parts.sharpening + h], shifted, logs.data(), weights + h * slots,
                                 dweights + h * slots, dshifted.data());
            interpolate(slots, gate, previous, content, gated.data());
            shift_backward(slots, s.reach, moves, gated.data(), dshifted.data(), dtold + parts.moves + h * s.moves(),
                           dgated.data());
            dtold[parts.gate + h] = interpolate_backward(slots, gate, previous, content, dgated.data(),
                                                         dweights + h * slots, dcontent);
            dtold[parts.strength + h] = softmax_backward(slots, told[parts.strength + h], cosine + h * slots, content,
                                                         dcontent, dcosine.data() + h * slots);
        }
        std::vector<T>& key_norms = dgated;  // no longer needed
        key_norms.resize(std::max(slots, heads));
        for (index h = 0; h < heads; ++h)
            key_norms[h] = unit_key(width, told.data() + parts.key + h * width, units.data() + h * width);
        T* shrink = dshifted.data();
        cosines_backward(heads, slots, width, memory, norms, cosine, dcosine.data(), dunits.data(), shrink);
        memory_backward(s.reads, s.writes, slots, width, memory, weights, told.data() + parts.erase, dreads,
                        units.data(), dcosine.data(), shrink, dmemory);
        for (index h = 0; h < heads; ++h)
            unit_key_backward(width, key_norms[h], units.data() + h * width, dunits.data() + h * width,
                              dtold + parts.key + h * width);
        activate_backward(s, parts, emitted, told.data(), dtold);
    }

    const Sizes& s;
    const Parts parts;
    const Layer<T>* layers;
    const Arrays<T>& a;
    const index first, count;
    std::vector<T> told, units, gated, logs, dcosine, dshifted, dgated, dunits;
};

// Numbers below the normal ones count as zero while this lives: the far ends of sharp weightings are full
// of them, and they are slow.
class WithoutDenormals {
#if defined(__SSE2__)
   public:
    WithoutDenormals() { _mm_setcsr(before | 0x8040); }
    ~WithoutDenormals() { _mm_setcsr(before); }

   private:
    const unsigned before = _mm_getcsr();
#endif
};

// Sequences that share each weight as it is loaded: more do not fit into the cache beside it.
constexpr index group_size = 8;

template <class T>
void run(const Sizes& sizes, const Layer<T>* layers, const Arrays<T>& arrays, bool backward) {
    const index threads = std::max<index>(1, std::min(sizes.threads, sizes.batch));
    const index share = (sizes.batch + threads - 1) / threads;
    const auto work = [&](index thread) {
        const WithoutDenormals while_working;
        const index end = std::min(sizes.batch, (thread + 1) * share);
        for (index first = thread * share; first < end; first += group_size) {
            Group<T> group(sizes, layers, arrays, first, std::min(group_size, end - first));
            backward ? group.backward() : group.forward();
        }
    };
    std::vector<std::thread> others;
    for (index thread = 1; thread < threads; ++thread) others.emplace_back(work, thread);
    work(0);
    for (std::thread& other : others) other.join();
}

}  // namespace
}  // namespace ntm

#define NTM_JOIN(a, b) a##_##b
#define NTM_ENTRY(name, isa) NTM_JOIN(name, isa)

extern "C" {
// The elementary functions one by one, to be measured: 0 exp, 1 log, 2 tanh, 3 sigmoid, 4 softplus.
void NTM_ENTRY(ntm_function, NTM_ISA)(int which, ntm::index n, const float* x, float* y) {
    for (ntm::index i = 0; i < n; ++i)
        y[i] = which == 0   ? ntm::exp(x[i])
               : which == 1 ? ntm::log(x[i])
               : which == 2 ? ntm::tanh(x[i])
               : which == 3 ? ntm::sigmoid(x[i])
                            : ntm::softplus(x[i]);
}
void NTM_ENTRY(ntm_float, NTM_ISA)(const void* sizes, const void* layers, const void* arrays, int backward) {
    ntm::run(*static_cast<const ntm::Sizes*>(sizes), static_cast<const ntm::Layer<float>*>(layers),
             *static_cast<const ntm::Arrays<float>*>(arrays), backward);
}
void NTM_ENTRY(ntm_double, NTM_ISA)(const void* sizes, const void* layers, const void* arrays, int backward) {
    ntm::run(*static_cast<const ntm::Sizes*>(sizes), static_cast<const ntm::Layer<double>*>(layers),
             *static_cast<const ntm::Arrays<double>*>(arrays), backward);
}
}
