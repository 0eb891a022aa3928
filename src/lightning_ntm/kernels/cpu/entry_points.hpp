// The functions that the library exports for each network.
#pragma once

#include <exception>

#include "compilers.hpp"
#include "sequences.hpp"

namespace ntm {
namespace {

// What a call of the library returns. No exception may leave C++.
enum Result : int { done = 0, exhausted = 1, unknown_target = 2 };

template <class T, class Memory>
int guarded(const void* sizes, const void* layers, const void* arrays, index threads, int backward) {
    try {
        run<T, Memory>(*static_cast<const typename Memory::Sizes*>(sizes), static_cast<const Layer<T>*>(layers),
                       *static_cast<const typename Memory::Arrays*>(arrays), nullptr, threads, backward);
        return done;
    } catch (const std::exception&) {
        return exhausted;
    }
}

// The loss of a batch with all gradients.
template <class T, class Memory>
int guarded_loss(const void* sizes, const void* layers, const void* arrays, const void* judged, const void* places,
                 index threads) {
    try {
        const auto& s = *static_cast<const typename Memory::Sizes*>(sizes);
        const auto* of_layers = static_cast<const Layer<T>*>(layers);
        const auto& a = *static_cast<const typename Memory::Arrays*>(arrays);
        Objective<T> objective(*static_cast<const Judged*>(judged), *static_cast<const Places<T>*>(places),
                               {s.batch, s.time, s.output()});
        run<T, Memory>(s, of_layers, a, &objective, threads, false);
        if (!objective.finish()) return unknown_target;
        run<T, Memory>(s, of_layers, a, &objective, threads, true);
        return done;
    } catch (const std::exception&) {
        return exhausted;
    }
}

}  // namespace
}  // namespace ntm

#define NTM_JOIN(a, b, c) a##_##b##_##c
#define NTM_ENTRY(network, name, isa) NTM_JOIN(network, name, isa)

// The entry points of a network whose memory is `ntm::Memory<T>`. NTM_ISA, the instruction set, is part of their names:
// a program is compiled once for each. `layout`: its version and the sizes of the structs, which the caller compares
// with its own.
#define NTM_ENTRY_POINTS(network, version)                                                                       \
    extern "C" NTM_EXPORT const std::int64_t* NTM_ENTRY(network, layout, NTM_ISA)() {                            \
        using Memory = ntm::Memory<float>;                                                                       \
        static const std::int64_t known[] = {version,                sizeof(Memory::Sizes),                      \
                                             sizeof(ntm::Layer<float>), sizeof(Memory::Arrays),                  \
                                             sizeof(ntm::Judged),    sizeof(ntm::Places<float>)};                \
        return known;                                                                                            \
    }                                                                                                            \
    NTM_ENTRY_POINTS_OF(network, float)                                                                          \
    NTM_ENTRY_POINTS_OF(network, double)

#define NTM_ENTRY_POINTS_OF(network, type)                                                                       \
    extern "C" NTM_EXPORT int NTM_ENTRY(network, type, NTM_ISA)(const void* sizes, const void* layers,           \
                                                                const void* arrays, ntm::index threads,          \
                                                                int backward) {                                  \
        return ntm::guarded<type, ntm::Memory<type>>(sizes, layers, arrays, threads, backward);                  \
    }                                                                                                            \
    extern "C" NTM_EXPORT int NTM_ENTRY(network##_loss, type, NTM_ISA)(                                          \
        const void* sizes, const void* layers, const void* arrays, const void* judged, const void* places,       \
        ntm::index threads) {                                                                                    \
        return ntm::guarded_loss<type, ntm::Memory<type>>(sizes, layers, arrays, judged, places, threads);       \
    }
