// An Elman network with stacks or tapes over whole sequences, forward and backward, for a group of sequences at a time.
//
// Products with the inputs, and the gradients of the weights, need no recurrence: the caller computes them.

#include <algorithm>
#include <exception>

#include "../cpu/caches.hpp"
#include "../cpu/compilers.hpp"
#include "../cpu/numerics.hpp"
#include "../cpu/products.hpp"
#include "../cpu/threads.hpp"
#include "arrays.hpp"

namespace ntm {
namespace {

// The weights of the slot before, of the same slot and of the slot after in the next memory. Of a tape with jumps also
// those of the slots at a jump to the left and to the right.
template <class T>
struct Mix {
    T before, same, after, left = 0, right = 0;
};

template <class T, int actions>
Mix<T> mix_of(const Sizes& s, const T* a) {
    if constexpr (actions == 5) return {a[1], a[0], a[2], a[3], a[4]};  // stay, left, right, jump left, jump right
    if (s.tape) return {a[1], a[0], a[2]};                              // stay, left, right
    return {a[0], a[2], a[1]};                                          // push, pop, no-op
}

template <class T, int actions>
class Group {
   public:
    Group(const Sizes& sizes, const Arrays<T>& arrays, index first, index count)
        : s(sizes), a(arrays), first(first), count(count),
          padded((jumps ? 2 * s.slots + 1 : s.slots + 2) * s.width), sums(count * s.hidden), dpadded(padded.size()) {}

    void forward() {
        const index recurrent = s.recurrent(), interface = s.interface();
        for (index t = 0; t < s.time; ++t) {
            const T* before = a.recurrent + at(t, recurrent);
            T* after = a.recurrent + at(t + 1, recurrent);
            std::copy_n(a.driven + at(t, s.hidden), count * s.hidden, sums.data());
            linear(count, recurrent, s.hidden, before, a.turned, sums.data(), {recurrent, s.hidden, s.hidden}, true);
            T* units = after + s.reads();
            for (index g = 0; g < count; ++g)
#pragma omp simd
                for (index i = 0; i < s.hidden; ++i) units[g * recurrent + i] = tanh(sums[g * s.hidden + i]);
            T* emitted = a.interface + at(t, interface);
            layer(a.heads, s.hidden, s.padded(s.of_heads()), units, recurrent, emitted, interface);
            if (s.writer) write(t, units, emitted + s.vectors());
            for (index g = 0; g < count; ++g)
                for (index m = 0; m < s.memories; ++m) update(t, g, m, emitted + g * interface, after + g * recurrent);
        }
    }

    void backward() {
        const index recurrent = s.recurrent(), interface = s.interface();
        T* drecurrent = a.drecurrent + first * recurrent;
        for (index t = s.time - 1; t >= 0; --t) {
            T* demitted = a.dinterface + at(t, interface);
            const T* units = a.recurrent + at(t + 1, recurrent) + s.reads();
            for (index g = 0; g < count; ++g) {
                for (index m = 0; m < s.memories; ++m)
                    update_backward(t, g, m, drecurrent + g * recurrent, demitted + g * interface);
                const T* dcontrolled = a.dcontrolled + ((first + g) * s.time + t) * s.hidden;
                const T* dnext = drecurrent + g * recurrent + s.reads();
                for (index i = 0; i < s.hidden; ++i) sums[g * s.hidden + i] = dcontrolled[i] + dnext[i];
            }
            linear(count, s.of_heads(), s.hidden, demitted, a.heads.weight, sums.data(),
                   {interface, s.hidden, s.hidden}, true);
            if (s.writer) write_backward(t, demitted + s.vectors());
            T* dsums = a.dsums + at(t, s.hidden);
            for (index g = 0; g < count; ++g)
                for (index i = 0; i < s.hidden; ++i) {
                    const T unit = units[g * recurrent + i];
                    dsums[g * s.hidden + i] = sums[g * s.hidden + i] * (T(1) - unit * unit);
                }
            linear(count, s.hidden, recurrent, dsums, a.weight, drecurrent, {s.hidden, recurrent, recurrent}, false);
        }
        for (index g = 0; g < count; ++g)
            for (index m = 0; m < s.memories; ++m) add_top(g, m, drecurrent + g * recurrent);
    }

   private:
    static constexpr bool jumps = actions > 3;

    index at(index t, index size) const { return (t * s.batch + first) * size; }
    T* memory(index t, index g, index m) const {
        return a.memory + ((s.row(t) * s.batch + first + g) * s.memories + m) * s.memory();
    }
    T* dmemory(index g, index m) const { return a.dmemory + ((first + g) * s.memories + m) * s.memory(); }

    void layer(const Weight<T>& w, index inner, index outputs, const T* from, index stride, T* to, index to_stride) {
        for (index g = 0; g < count; ++g) std::copy_n(w.bias, outputs, to + g * to_stride);
        linear(count, inner, outputs, from, w.turned, to, {stride, outputs, to_stride}, true);
    }

    // The vectors to write, from two layers of ReLU units.
    void write(index t, const T* units, T* vectors) {
        const T* from = units;
        index inner = s.hidden, stride = s.recurrent();
        for (index i = 0; i < 2; ++i) {
            T* to = a.written[i] + at(t, s.writer);
            layer(a.writers[i], inner, s.writer, from, stride, to, s.writer);
            for (index j = 0; j < count * s.writer; ++j) to[j] = to[j] > T(0) || to[j] != to[j] ? to[j] : T(0);
            from = to;
            inner = stride = s.writer;
        }
        layer(a.writers[2], s.writer, s.padded(s.reads()), from, s.writer, vectors, s.interface());
    }

    // Adds the gradient of the hidden units to `sums`.
    void write_backward(index t, const T* dvectors) {
        const T* from = dvectors;
        index inner = s.reads(), stride = s.interface();
        for (index i = 1; i >= 0; --i) {
            const T* units = a.written[i] + at(t, s.writer);
            T* to = a.dwritten[i] + at(t, s.writer);
            linear(count, inner, s.writer, from, a.writers[i + 1].weight, to, {stride, s.writer, s.writer}, false);
            for (index j = 0; j < count * s.writer; ++j) to[j] = units[j] > T(0) ? to[j] : T(0);
            from = to;
            inner = stride = s.writer;
        }
        linear(count, s.writer, s.hidden, from, a.writers[0].weight, sums.data(), {s.writer, s.hidden, s.hidden}, true);
    }

    // The memory with a slot more at either end. Of a tape the cell at the head is the vector to write, and the tape
    // is a circle, which for jumps is there twice; of a stack the vector to push is above the top, and zeros are below
    // the last slot.
    void pad(const T* before, const T* vector, T* to) {
        const index width = s.width, size = s.memory();
        T* middle = to + width;
        std::copy_n(before, size, middle);
        if (s.tape) {
            std::copy_n(before + size - width, width, to);
            std::copy_n(vector, width, middle);
            std::copy_n(middle, jumps ? size : width, middle + size);
        } else {
            std::copy_n(vector, width, to);
            std::fill_n(middle + size, width, T(0));
        }
    }

    // Where in the padded tape the cells begin as they are counted after a jump of the head to the left or to the right.
    index left(index g) const { return (1 + s.slots - a.jumps[first + g]) * s.width; }
    index right(index g) const { return (1 + a.jumps[first + g]) * s.width; }

    // The next memory, from the padded one.
    void mix(index g, const Mix<T>& by, const T* p, T* to) const {
        const index width = s.width, size = s.memory();
        const T *leftwards = p, *rightwards = p;
        if constexpr (jumps) leftwards += left(g), rightwards += right(g);
#pragma omp simd
        for (index i = 0; i < size; ++i) {
            T sum = by.before * p[i] + by.same * p[i + width] + by.after * p[i + 2 * width];
            if constexpr (jumps) sum += by.left * leftwards[i] + by.right * rightwards[i];
            to[i] = sum;
        }
    }

    void update(index t, index g, index m, T* emitted, T* reads) {
        T *a_m = emitted + actions * m, *p = padded.data(), *after = memory(t + 1, g, m);
        const T largest = *std::max_element(a_m, a_m + actions);
        T sum = 0;
        for (index i = 0; i < actions; ++i) sum += a_m[i] = exp(a_m[i] - largest);
        for (index i = 0; i < actions; ++i) a_m[i] /= sum;
        pad(memory(t, g, m), emitted + s.vectors() + m * s.width, p);
        mix(g, mix_of<T, actions>(s, a_m), p, after);
        std::copy_n(after, s.width, reads + m * s.width);
    }

    void add_top(index g, index m, const T* drecurrent) {
        T* top = dmemory(g, m);
        for (index i = 0; i < s.width; ++i) top[i] += drecurrent[m * s.width + i];
    }

    // Replaces the gradient of the memory after step t by that of the memory before it.
    void update_backward(index t, index g, index m, const T* drecurrent, T* demitted) {
        const index width = s.width, size = s.memory();
        const T* emitted = a.interface + at(t, s.interface()) + g * s.interface();
        const T* a_m = emitted + actions * m;
        T *dm = dmemory(g, m), *p = padded.data(), *da = demitted + actions * m;
        add_top(g, m, drecurrent);
        pad(memory(t, g, m), emitted + s.vectors() + m * width, p);
        const T before = dot(size, dm, p), same = dot(size, dm, p + width), after = dot(size, dm, p + 2 * width);
        T of[actions] = {s.tape ? same : before, s.tape ? before : after, s.tape ? after : same};
        T mean = a_m[0] * of[0] + a_m[1] * of[1] + a_m[2] * of[2];
        if constexpr (jumps) {
            of[3] = dot(size, dm, p + left(g)), of[4] = dot(size, dm, p + right(g));
            mean += a_m[3] * of[3] + a_m[4] * of[4];
        }
        for (index i = 0; i < actions; ++i) da[i] = a_m[i] * (of[i] - mean);
        mix_backward(g, mix_of<T, actions>(s, a_m), dm, demitted + s.vectors() + m * width);
    }

    // Replaces the gradient of the next memory by that of the memory, and sets that of the vector.
    void mix_backward(index g, const Mix<T>& by, T* dm, T* dvector) {
        const index width = s.width, size = s.memory();
        T* dp = dpadded.data();
        if constexpr (jumps) {
            pad(dm, dm, dp);
            mix(g, {by.after, by.same, by.before, by.right, by.left}, dp, dm);  // every action the other way round
            std::copy_n(dm, width, dvector);
            std::fill_n(dm, width, T(0));
        } else {
            std::fill_n(dp, 2 * width, T(0));
            for (index i = 0; i < size; ++i) dp[i + 2 * width] = by.after * dm[i];
            for (index i = 0; i < size; ++i) dp[i + width] += by.same * dm[i];
            for (index i = 0; i < size; ++i) dp[i] += by.before * dm[i];
            std::copy_n(dp + width, size, dm);
            if (s.tape) {
                for (index i = 0; i < width; ++i) dm[size - width + i] += dp[i];
                for (index i = 0; i < width; ++i) dvector[i] = dm[i] + dp[size + width + i];
                std::fill_n(dm, width, T(0));
            } else {
                std::copy_n(dp, width, dvector);
            }
        }
    }

    const Sizes& s;
    const Arrays<T>& a;
    const index first, count;
    Numbers<T> padded, sums, dpadded;
};

// Sequences that a thread runs at once, so that each weight is loaded once for all.
constexpr index group_size = 8;

template <class T, int actions>
void run_groups(const Sizes& s, const Arrays<T>& a, index threads, bool backward) {
    const index size = std::min(group_size, (s.batch + threads - 1) / threads);
    share_out((s.batch + size - 1) / size, threads, [&](index number) {
        const WithoutDenormals while_working;
        const index first = number * size;
        Group<T, actions> group(s, a, first, std::min(size, s.batch - first));
        backward ? group.backward() : group.forward();
    });
}

template <class T>
int run(const Sizes& s, const Arrays<T>& a, index threads, bool backward) {
    try {
        s.actions == 5 ? run_groups<T, 5>(s, a, threads, backward) : run_groups<T, 3>(s, a, threads, backward);
        return 0;
    } catch (const std::exception&) {
        return 1;
    }
}

}  // namespace
}  // namespace ntm

#define NTM_JOIN(a, b) a##_##b
#define NTM_ENTRY(name, isa) NTM_JOIN(name, isa)

extern "C" NTM_EXPORT const std::int64_t* NTM_ENTRY(cells_layout, NTM_ISA)() {
    static const std::int64_t known[] = {ntm::layout, sizeof(ntm::Sizes), sizeof(ntm::Arrays<float>)};
    return known;
}

#define NTM_CELLS(type)                                                                                        \
    extern "C" NTM_EXPORT int NTM_ENTRY(cells_##type, NTM_ISA)(const void* sizes, const void* arrays,          \
                                                               ntm::index threads, int backward) {             \
        return ntm::run(*static_cast<const ntm::Sizes*>(sizes), *static_cast<const ntm::Arrays<type>*>(arrays), \
                        threads, backward);                                                                    \
    }

NTM_CELLS(float)
NTM_CELLS(double)
