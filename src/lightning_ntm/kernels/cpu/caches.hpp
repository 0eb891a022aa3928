// Arrays and prefetching, for the programs of all networks.
#pragma once

#include <algorithm>
#include <new>
#include <vector>

#include "compilers.hpp"
#include "products.hpp"

namespace ntm {
namespace {

// Prefetches arrays into the cache, a few lines at a time: the processor waits if there are many requests at once.
// Long sequences are larger than the cache, and the hardware does not predict the addresses of the next step.
template <class T, int Written>
class Ahead {
   public:
    void add(T* from, index count) {
        ranges.push_back({from, from + count});
        lines += count / line + 1;
    }
    // Sets the number of calls of `fetch` in which all ranges are prefetched.
    void spread(index calls) { at_once = lines / calls + 1; }
    void fetch() {
        for (index left = at_once; left > 0 && !ranges.empty();) {
            Range& range = ranges.back();
            for (; left > 0 && range.next < range.end; --left, range.next += line)
                prefetch<Written>(range.next);
            if (range.next >= range.end) ranges.pop_back();
        }
        lines = std::max<index>(0, lines - at_once);
    }

   private:
    static constexpr index line = 64 / sizeof(T);
    struct Range {
        T *next, *end;
    };
    std::vector<Range> ranges;
    index lines = 0, at_once = 0;
};

// Allocates arrays at the start of a cache line.
template <class T>
struct Aligned {
    using value_type = T;
    static constexpr std::align_val_t line{64};
    T* allocate(std::size_t count) { return static_cast<T*>(::operator new(count * sizeof(T), line)); }
    void deallocate(T* array, std::size_t) { ::operator delete(array, line); }
    template <class U>
    void construct(U* number) {  // uninitialised
        ::new (number) U;
    }
    bool operator==(const Aligned&) const { return true; }
    bool operator!=(const Aligned&) const { return false; }
};
template <class T>
using Numbers = std::vector<T, Aligned<T>>;

// Copies `count` numbers, or sets zeros if `from` is null.
template <class T>
void copy_or_zero(const T* from, index offset, index count, T* to) {
    from ? std::copy_n(from + offset, count, to) : std::fill_n(to, count, T(0));
}

// While it exists denormal numbers are treated as zero: sharp weightings have many of them, and they are slow.
class WithoutDenormals {
#if defined(NTM_SSE)
   public:
    WithoutDenormals() { _mm_setcsr(before | 0x8040); }
    ~WithoutDenormals() { _mm_setcsr(before); }

   private:
    const unsigned before = _mm_getcsr();
#endif
};

}  // namespace
}  // namespace ntm
