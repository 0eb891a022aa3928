// The memory of an NTM over whole sequences, forward and backward, for a group of sequences at a time.
//
// The memory is transposed, width x slots. It is the largest array of a step, and computing it again is faster than
// loading it from main memory: it is saved before one step in `every`, and the backward computes those between.

#include <algorithm>

#include "../cpu/entry_points.hpp"
#include "../cpu/sequences.hpp"
#include "arrays.hpp"
#include "interface.hpp"
#include "stages.hpp"

namespace ntm {
namespace {

template <class T>
class Memory {
   public:
    using Sizes = ntm::Sizes;
    using Arrays = ntm::Arrays<T>;

    static index group(const Sizes&) { return group_size; }

    Memory(const Sizes& sizes, const Layer<T>* layers, const Arrays& arrays, index first, index count)
        : s(sizes), parts(sizes), layers(layers), a(arrays), first(first), count(count),
          units(sizes.heads() * sizes.width), ring(sizes.slots + 2 * sizes.max_shift), logs(sizes.slots),
          shifted(sizes.slots) {}

    // Copies the initial state of a sequence.
    void begin(index g) {
        present.resize(count * s.scaled_size());
        const index weights_size = s.heads() * s.slots;
        T* memory = memory_at(0, g);
        transpose(s.slots, s.width, a.first.memory + g * s.memory_size(), s.width, memory);
        slot_scales(s.slots, s.width, memory, memory + s.memory_size());
        std::copy_n(a.first.weights + g * weights_size, weights_size, a.weights + s.at(0, g, weights_size));
    }

    // Copies the last state of a sequence.
    void end(index g) {
        const index weights_size = s.heads() * s.slots;
        transpose(s.width, s.slots, memory_at(s.time, g), s.slots, a.last.memory + g * s.memory_size());
        std::copy_n(a.weights + s.at(s.time, g, weights_size), weights_size, a.last.weights + g * weights_size);
    }

    void prepare(index t) {
        if (s.keep && t + 1 < s.time) prefetch_step(ahead, t + 1, 1);
    }

    // All heads address the memory before this step's writes; then reads, then writes.
    void step(index t, index g, T* reads) {
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
        read(s.reads, slots, width, memory, weights, reads);
        ahead.fetch();
        write(t, g, memory, memory_at(t + 1, g));
    }

    // `dfirst` holds the gradient of the state during the backward, except that of the memory.
    void begin_backward(index g) {
        const index weights_size = s.heads() * s.slots;
        dmemory.resize(count * s.memory_size());
        rewritten.resize((s.every - 1) * count * s.scaled_size());
        T* dm = dmemory.data() + (g - first) * s.memory_size();
        if (a.dlast.memory)
            transpose(s.slots, s.width, a.dlast.memory + g * s.memory_size(), s.width, dm);
        else
            std::fill_n(dm, s.memory_size(), T(0));
        copy_or_zero(a.dlast.weights, g * weights_size, weights_size, a.dfirst.weights + g * weights_size);
    }

    void end_backward(index g) {
        transpose(s.width, s.slots, dmemory.data() + (g - first) * s.memory_size(), s.slots,
                  a.dfirst.memory + g * s.memory_size());
    }

    void prepare_backward(index t) {
        if (t) prefetch_step(back, t - 1, 0);
        if (t == s.time - 1 || (t + 1) % s.every == 0) write_again(t);
    }

    void step_backward(index t, index g) {
        const index heads = s.heads(), slots = s.slots, width = s.width;
        const T* emitted = a.emitted + s.at(t, g, s.emitted());
        T* dactivated = a.demitted + s.at(t, g, s.emitted());
        const T* activated = a.activated + s.at(t, g, s.emitted());
        const T* memory = memory_again(t, g);
        const T* weights = a.weights + s.at(t + 1, g, heads * slots);
        const T* cosine = a.cosine + s.at(t, g, heads * slots);
        T* dm = dmemory.data() + (g - first) * width * slots;
        T* dweights = a.dfirst.weights + g * heads * slots;
        const T* dreads = a.dfirst.reads + g * s.read_size();

        write_backward(s.writes, slots, width, memory, weights + s.reads * slots, activated + parts.erase,
                       activated + parts.add, dm, dweights + s.reads * slots, dactivated + parts.erase,
                       dactivated + parts.add);
        back.fetch();
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

   private:
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

    const Sizes& s;
    const Parts parts;
    const Layer<T>* layers;
    const Arrays& a;
    const index first, count;
    Numbers<T> units, ring, logs, shifted, present, rewritten;
    Numbers<T> dcosine, dring, dgated, dunits, dmemory;
    Ahead<T, 0> back;
    Ahead<T, 1> ahead;
};

}  // namespace
}  // namespace ntm

NTM_ENTRY_POINTS(ntm, ntm::layout)

// The elementary functions, for tests: 0 exp, 1 log, 2 tanh, 3 sigmoid, 4 softplus.
extern "C" NTM_EXPORT void NTM_ENTRY(ntm, function, NTM_ISA)(int which, ntm::index n, const float* x, float* y) {
    for (ntm::index i = 0; i < n; ++i)
        y[i] = which == 0   ? ntm::exp(x[i])
               : which == 1 ? ntm::log(x[i])
               : which == 2 ? ntm::tanh(x[i])
               : which == 3 ? ntm::sigmoid(x[i])
                            : ntm::softplus(x[i]);
}
