// The memory of a DNC over whole sequences, forward and backward, for a group of sequences at a time.
//
// The memory is transposed, width x slots. Memory, links and precedence are saved before one step in `every`, and
// the backward computes those between from the weightings, which are saved in each step. With `every` the root of the
// steps, the links of a sequence take twice that many matrices.

#include <algorithm>

#include "../cpu/entry_points.hpp"
#include "../cpu/sequences.hpp"
#include "arrays.hpp"
#include "interface.hpp"
#include "links.hpp"
#include "lookup.hpp"
#include "order.hpp"
#include "stages.hpp"

namespace ntm {
namespace {

template <class T>
class Memory {
   public:
    using Sizes = ntm::Sizes;
    using Arrays = ntm::Arrays<T>;

    // As many as have the links of `every` steps in the cache.
    static index group(const Sizes& s) {
        constexpr index cache = (index(3) << 19) / sizeof(T);
        return std::clamp<index>(cache / ((s.every + 2) * s.link_size()), 1, group_size);
    }

    Memory(const Sizes& sizes, const Layer<T>*, const Arrays& arrays, index first, index count)
        : s(sizes), parts(sizes), a(arrays), first(first), count(count),
          lookup(sizes.reads, sizes.slots, sizes.width, sizes.masking), ties(sizes.slots), kept(sizes.slots),
          allocation(sizes.slots), forward(sizes.looks_size()), backward(sizes.looks_size()), relative(sizes.slots),
          logs(sizes.slots), ranked(sizes.slots) {
        for (index n = 0; n < s.slots; ++n) ties[n] = T(tie) * T(n);
    }

    // Copies the initial state of a sequence.
    void begin(index g) {
        present.resize(count * s.scaled_size());
        present_link.resize(count * s.link_size());
        present_precedence.resize(count * s.slots);
        sorted.resize(count * s.slots);
        T* memory = memory_at(0, g);
        transpose(s.slots, s.width, a.first.memory + g * s.memory_size(), s.width, memory);
        slot_scales(s.slots, s.width, memory, memory + s.memory_size());
        std::copy_n(a.first.link + g * s.link_size(), s.link_size(), link_at(0, g));
        std::copy_n(a.first.precedence + g * s.slots, s.slots, precedence_at(0, g));
        std::copy_n(a.first.usage + g * s.slots, s.slots, a.usage + s.at(0, g, s.slots));
        std::copy_n(a.first.write_weights + g * s.slots, s.slots, a.write_weights + s.at(0, g, s.slots));
        std::copy_n(a.first.read_weights + g * s.looks_size(), s.looks_size(),
                    a.read_weights + s.at(0, g, s.looks_size()));
        for (index n = 0; n < s.slots; ++n) sorted[(g - first) * s.slots + n] = T(n);
    }

    // Copies the last state of a sequence.
    void end(index g) {
        transpose(s.width, s.slots, memory_at(s.time, g), s.slots, a.last.memory + g * s.memory_size());
        std::copy_n(link_at(s.time, g), s.link_size(), a.last.link + g * s.link_size());
        std::copy_n(precedence_at(s.time, g), s.slots, a.last.precedence + g * s.slots);
        std::copy_n(a.usage + s.at(s.time, g, s.slots), s.slots, a.last.usage + g * s.slots);
        std::copy_n(a.write_weights + s.at(s.time, g, s.slots), s.slots, a.last.write_weights + g * s.slots);
        std::copy_n(a.read_weights + s.at(s.time, g, s.looks_size()), s.looks_size(),
                    a.last.read_weights + g * s.looks_size());
    }

    void prepare(index) {}

    // Frees and writes, then updates the links, then reads the memory as it was just written.
    void step(index t, index g, T* reads) {
        const index slots = s.slots;
        T* activated = a.activated + s.at(t, g, s.emitted());
        activate(s, parts, a.emitted + s.at(t, g, s.emitted()), activated);
        T *usage = a.usage + s.at(t + 1, g, slots), *weights = a.write_weights + s.at(t + 1, g, slots);
        T *looks = a.read_weights + s.at(t + 1, g, s.looks_size()), *order = sorted.data() + (g - first) * slots;
        retention(s.reads, slots, activated + parts.free, a.read_weights + s.at(t, g, s.looks_size()), kept.data());
        update_usage(slots, a.usage + s.at(t, g, slots), a.write_weights + s.at(t, g, slots), kept.data(), usage);
        sort_slots(slots, usage, ties.data(), order, ranked.data());
        if (s.keep) std::copy_n(order, slots, a.order + s.at(t, g, slots));
        allocate(slots, order, usage, allocation.data());
        mix_write(slots, activated[parts.allocation_gate], activated[parts.write_gate], allocation.data(),
                  lookup.forward(writing(activated), memory_at(t, g)), weights);
        T* after = memory_at(t + 1, g);
        advance(t, g, memory_at(t, g), link_at(t, g), precedence_at(t, g), after, link_at(t + 1, g),
                precedence_at(t + 1, g), forward.data(), backward.data());
        const T* content = lookup.forward(reading(activated), after);
        for (index h = 0; h < s.reads; ++h) {
            T *along = forward.data() + h * slots, *against = backward.data() + h * slots;
            if (s.sharpening) {
                sharpen_links(slots, activated[parts.forward_sharpness + h], along, along, relative.data(),
                              logs.data());
                sharpen_links(slots, activated[parts.backward_sharpness + h], against, against, relative.data(),
                              logs.data());
            }
            mix_read(slots, activated + parts.modes + h * 3, against, content + h * slots, along, looks + h * slots);
        }
        read(s.reads, slots, s.width, after, looks, reads);
    }

    // `dfirst` holds the gradient of the state during the backward, except that of the memory.
    void begin_backward(index g) {
        resize_for_backward();
        T* dm = dmemory.data() + (g - first) * s.memory_size();
        if (a.dlast.memory)
            transpose(s.slots, s.width, a.dlast.memory + g * s.memory_size(), s.width, dm);
        else
            std::fill_n(dm, s.memory_size(), T(0));
        const auto copy = [g](const T* from, index size, T* to) { copy_or_zero(from, g * size, size, to + g * size); };
        copy(a.dlast.link, s.link_size(), a.dfirst.link);
        copy(a.dlast.precedence, s.slots, a.dfirst.precedence);
        copy(a.dlast.usage, s.slots, a.dfirst.usage);
        copy(a.dlast.write_weights, s.slots, a.dfirst.write_weights);
        copy(a.dlast.read_weights, s.looks_size(), a.dfirst.read_weights);
    }

    void end_backward(index g) {
        transpose(s.width, s.slots, dmemory.data() + (g - first) * s.memory_size(), s.slots,
                  a.dfirst.memory + g * s.memory_size());
    }

    // Computes what is not saved of the steps from the last saved memory to step t.
    void prepare_backward(index t) {
        if (t < s.time - 1 && (t + 1) % s.every) return;
        for (index g = first; g < first + count; ++g)
            for (index step = t / s.every * s.every; step <= t; ++step) {
                retention(s.reads, s.slots, a.activated + s.at(step, g, s.emitted()) + parts.free,
                          a.read_weights + s.at(step, g, s.looks_size()), kept.data());
                advance(step, g, memory_before(step, g), link_before(step, g), precedence_before(step, g),
                        memory_after(step, g), step < t ? link_after(step, g) : nullptr, precedence_after(step, g),
                        forward_again(step, g), backward_again(step, g));
            }
    }

    void step_backward(index t, index g) {
        const T* activated = a.activated + s.at(t, g, s.emitted());
        T* dactivated = a.demitted + s.at(t, g, s.emitted());
        read_step_backward(t, g, activated, dactivated);
        write_step_backward(t, g, activated, dactivated);
        activate_backward(s, parts, a.emitted + s.at(t, g, s.emitted()), activated, dactivated);
    }

   private:
    using Query = typename Lookup<T>::Query;

    Query writing(const T* activated) const {
        return {1, activated + parts.write_key, s.masking ? activated + parts.write_mask : nullptr,
                activated + parts.write_strength};
    }
    Query reading(const T* activated) const {
        return {s.reads, activated + parts.read_key, s.masking ? activated + parts.read_mask : nullptr,
                activated + parts.read_strength};
    }

    // What was saved before step t, or the one array that all other steps share.
    bool is_saved(index t) const { return s.keep && t % s.every == 0 && t < s.time; }
    T* memory_at(index t, index g) { return at(t, g, s.scaled_size(), a.memory, present); }
    T* link_at(index t, index g) { return at(t, g, s.link_size(), a.link, present_link); }
    T* precedence_at(index t, index g) { return at(t, g, s.slots, a.precedence, present_precedence); }
    T* at(index t, index g, index size, T* saved, Numbers<T>& shared) const {
        return is_saved(t) ? saved + s.always_at(t / s.every, g, size) : shared.data() + (g - first) * size;
    }

    // The same in the backward, after `prepare_backward`.
    T* memory_after(index t, index g) { return after(t, g, s.scaled_size(), memory_again); }
    T* link_after(index t, index g) { return after(t, g, s.link_size(), link_again); }
    T* precedence_after(index t, index g) { return after(t, g, s.slots, precedence_again); }
    T* forward_again(index t, index g) { return after(t, g, 2 * s.looks_size(), looks_again); }
    T* backward_again(index t, index g) { return forward_again(t, g) + s.looks_size(); }
    T* after(index t, index g, index size, Numbers<T>& again) const {
        return again.data() + (t % s.every * count + g - first) * size;
    }
    T* memory_before(index t, index g) { return t % s.every ? memory_after(t - 1, g) : memory_at(t, g); }
    T* link_before(index t, index g) { return t % s.every ? link_after(t - 1, g) : link_at(t, g); }
    T* precedence_before(index t, index g) { return t % s.every ? precedence_after(t - 1, g) : precedence_at(t, g); }

    // From the weightings of a step, computes the memory after it, the links and the weightings along them.
    void advance(index t, index g, const T* memory, const T* link, const T* precedence, T* next_memory, T* next_link,
                 T* next_precedence, T* along, T* against) {
        const T* activated = a.activated + s.at(t, g, s.emitted());
        const T* weights = a.write_weights + s.at(t + 1, g, s.slots);
        if (s.deallocation) deallocate(s.slots, s.width, memory, kept.data(), next_memory);
        write(1, s.slots, s.width, s.deallocation ? next_memory : memory, weights, activated + parts.erase,
              activated + parts.add, next_memory, next_memory + s.memory_size());
        // In the order of additions in which a sequence begins: parts of a sequence have the bits of the whole.
        slot_scales(s.slots, s.width, next_memory, next_memory + s.memory_size());
        const T* looks = a.read_weights + s.at(t, g, s.looks_size());
        follow_links(s.reads, {s.slots, link, weights, precedence, looks}, next_link, along, against);
        update_precedence(s.slots, precedence, weights, next_precedence);
    }

    void resize_for_backward() {
        dmemory.resize(count * s.memory_size());
        const index steps = std::min(s.every, s.time) * count;
        memory_again.resize(steps * s.scaled_size());
        link_again.resize((steps - count) * s.link_size());
        precedence_again.resize(steps * s.slots);
        looks_again.resize(steps * 2 * s.looks_size());
        for (Numbers<T>* part : {&dforward, &dbackward, &dcontent, &dlooks}) part->resize(s.looks_size());
        for (Numbers<T>* part : {&dallocation, &dkept, &scratch}) part->resize(s.slots);
        if (s.deallocation) freed.resize(s.memory_size());
        if (s.sharpening)
            for (Numbers<T>* part : {&relative, &logs}) part->resize(2 * s.slots);
    }

    // From the gradients of reads and read weightings to those of the memory and the links.
    void read_step_backward(index t, index g, const T* activated, T* dactivated) {
        const index slots = s.slots;
        const T *after = memory_after(t, g), *dreads = a.dfirst.reads + g * s.read_size();
        T* dm = dmemory.data() + (g - first) * s.memory_size();
        T* dweights = a.dfirst.read_weights + g * s.looks_size();
        read_backward(s.reads, slots, s.width, after, dreads, dweights);
        linear(s.width, s.reads, slots, dreads, a.read_weights + s.at(t + 1, g, s.looks_size()), dm,
               {1, slots, slots, s.width}, true);
        const T* content = lookup.forward(reading(activated), after);
        for (index h = 0; h < s.reads; ++h) mix_and_sharpen_backward(t, g, h, activated, dactivated, content, dweights);
        lookup.backward(reading(activated), after, dcontent.data(), dactivated + parts.read_key,
                        dactivated + parts.read_mask, dactivated + parts.read_strength, dm);
    }

    void mix_and_sharpen_backward(index t, index g, index h, const T* activated, T* dactivated, const T* content,
                                  const T* dweights) {
        const index slots = s.slots, row = h * slots;
        const T *along = forward_again(t, g) + row, *against = backward_again(t, g) + row;
        T *sharp_along = forward.data() + row, *sharp_against = backward.data() + row;
        T all_along = 0, all_against = 0;
        if (s.sharpening) {
            all_along = sharpen_links(slots, activated[parts.forward_sharpness + h], along, sharp_along,
                                      relative.data(), logs.data());
            all_against = sharpen_links(slots, activated[parts.backward_sharpness + h], against, sharp_against,
                                        relative.data() + slots, logs.data() + slots);
        }
        mix_read_backward(slots, activated + parts.modes + h * 3, s.sharpening ? sharp_against : against, content + row,
                          s.sharpening ? sharp_along : along, dweights + row, dactivated + parts.modes + h * 3,
                          dbackward.data() + row, dcontent.data() + row, dforward.data() + row);
        if (!s.sharpening) return;
        dactivated[parts.forward_sharpness + h] =
            sharpen_links_backward(slots, activated[parts.forward_sharpness + h], along, sharp_along, relative.data(),
                                   logs.data(), all_along, dforward.data() + row);
        dactivated[parts.backward_sharpness + h] = sharpen_links_backward(
            slots, activated[parts.backward_sharpness + h], against, sharp_against, relative.data() + slots,
            logs.data() + slots, all_against, dbackward.data() + row);
    }

    // From the gradients after the write to those of the state before the step.
    void write_step_backward(index t, index g, const T* activated, T* dactivated) {
        const index slots = s.slots;
        const T *memory = memory_before(t, g), *precedence = precedence_before(t, g);
        const T* weights = a.write_weights + s.at(t + 1, g, slots);
        const T* looks = a.read_weights + s.at(t, g, s.looks_size());
        T* dm = dmemory.data() + (g - first) * s.memory_size();
        T *dweights = a.dfirst.write_weights + g * slots, *dusage = a.dfirst.usage + g * slots;
        T* dprecedence = a.dfirst.precedence + g * slots;
        update_precedence_backward(slots, precedence, weights, dprecedence, dweights);
        follow_links_backward<T>(s.reads, {slots, link_before(t, g), weights, precedence, looks},
                              {dforward.data(), dbackward.data(), a.dfirst.link + g * s.link_size(), dweights,
                               dprecedence, dlooks.data()});
        retention(s.reads, slots, activated + parts.free, looks, kept.data());
        std::fill_n(dkept.data(), slots, T(0));
        if (s.deallocation) deallocate(slots, s.width, memory, kept.data(), freed.data());
        write_backward(1, slots, s.width, s.deallocation ? freed.data() : memory, weights, activated + parts.erase,
                       activated + parts.add, dm, dweights, dactivated + parts.erase, dactivated + parts.add);
        erase_backward(slots, s.width, weights, activated + parts.erase, dm);
        if (s.deallocation) deallocate_backward(slots, s.width, memory, kept.data(), dm, dkept.data());
        allocate_and_look_up_backward(t, g, activated, dactivated, dweights, dm, dusage);
        update_usage_backward(slots, a.usage + s.at(t, g, slots), a.write_weights + s.at(t, g, slots), kept.data(),
                              dusage, dweights, dkept.data());
        retention_backward(s.reads, slots, activated + parts.free, looks, dkept.data(), dactivated + parts.free,
                           dlooks.data(), scratch.data());
        std::copy_n(dlooks.data(), s.looks_size(), a.dfirst.read_weights + g * s.looks_size());
    }

    void allocate_and_look_up_backward(index t, index g, const T* activated, T* dactivated, const T* dweights, T* dm,
                                       T* dusage) {
        const T *usage = a.usage + s.at(t + 1, g, s.slots), *order = a.order + s.at(t, g, s.slots);
        const T *memory = memory_before(t, g), *content = lookup.forward(writing(activated), memory);
        allocate(s.slots, order, usage, allocation.data());
        mix_write_backward(s.slots, activated[parts.allocation_gate], activated[parts.write_gate], allocation.data(),
                           content, dweights, dactivated + parts.allocation_gate, dactivated + parts.write_gate,
                           dallocation.data(), dcontent.data());
        lookup.backward(writing(activated), memory, dcontent.data(), dactivated + parts.write_key,
                        dactivated + parts.write_mask, dactivated + parts.write_strength, dm);
        allocate_backward(s.slots, order, usage, dallocation.data(), dusage, scratch.data());
    }

    const Sizes& s;
    const Parts parts;
    const Arrays& a;
    const index first, count;
    Lookup<T> lookup;
    Numbers<T> ties, kept, allocation, forward, backward, relative, logs;
    std::vector<Ranked> ranked;
    Numbers<T> present, present_link, present_precedence, sorted;
    Numbers<T> memory_again, link_again, precedence_again, looks_again;
    Numbers<T> dmemory, dforward, dbackward, dcontent, dlooks, dallocation, dkept, scratch, freed;
};

}  // namespace
}  // namespace ntm

NTM_ENTRY_POINTS(dnc, ntm::layout)
