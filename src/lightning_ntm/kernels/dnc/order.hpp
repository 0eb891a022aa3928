// Slots in the order of their usage.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>

#include "../cpu/products.hpp"

namespace ntm {
namespace {

constexpr double tie = 1e-6;  // functional.dnc.TIE

// A slot with its usage as an integer of the same order; NaN is the largest, as in PyTorch.
struct Ranked {
    std::uint64_t usage;
    std::uint32_t slot;
    bool operator<(const Ranked& other) const {
        return usage != other.usage ? usage < other.usage : slot < other.slot;
    }
};

template <class T>
inline std::uint64_t rank_of(T usage) {
    using Bits = std::conditional_t<sizeof(T) == 4, std::uint32_t, std::uint64_t>;
    constexpr Bits sign = Bits(1) << (8 * sizeof(T) - 1);
    if (usage != usage) return ~std::uint64_t(0);
    Bits bits;
    std::memcpy(&bits, &usage, sizeof bits);
    return bits & sign ? Bits(~bits) : Bits(bits | sign);
}

// Sets `order` to the slots by usage. Usages that differ by less than `tie` for each slot between them count as equal
// and are ordered by slot: `ties` are tie times the numbers of the slots. Few slots change their places in a step, so
// `order` is at first that of the step before, which is sorted by insertion; if many change, by a general algorithm.
template <class T>
inline void sort_slots(index slots, const T* usage, const T* ties, T* order, Ranked* ranked) {
    for (index k = 0; k < slots; ++k) {
        const index n = index(order[k]);
        ranked[k] = {rank_of(T(usage[n] + ties[n])), std::uint32_t(n)};
    }
    index moves = 0;
    for (index k = 1; k < slots && moves <= 8 * slots; ++k) {
        const Ranked inserted = ranked[k];
        index place = k;
        for (; place > 0 && inserted < ranked[place - 1]; --place) ranked[place] = ranked[place - 1];
        ranked[place] = inserted;
        moves += k - place;
    }
    if (moves > 8 * slots) std::sort(ranked, ranked + slots);
    for (index k = 0; k < slots; ++k) order[k] = T(ranked[k].slot);
}

}  // namespace
}  // namespace ntm
