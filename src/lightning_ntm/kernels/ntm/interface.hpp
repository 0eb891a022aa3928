// The interface vector, which the controller sends to the heads: its parts and their activations.
#pragma once

#include <cmath>

#include "arrays.hpp"
#include "stages.hpp"

namespace ntm {
namespace {

// Offsets of the parts of the interface vector, in the order of ntm_memory.py: tanh, sigmoid, softplus, softmax.
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

constexpr double head_limit = 20;  // HEAD_LIMIT in ntm_memory.py

// Applies the activations to an interface vector.
template <class T>
void activate(const Sizes& s, const Parts& parts, const T* __restrict emitted, T* __restrict activated) {
    const index end = s.emitted();
    for (index i = 0; i < end; ++i) {
        const T bounded = emitted[i] > T(head_limit) ? T(head_limit) : emitted[i];
        activated[i] = bounded < -T(head_limit) ? -T(head_limit) : bounded;
    }
#pragma omp simd
    for (index i = parts.key; i < parts.gate; ++i) activated[i] = tanh(activated[i]);
#pragma omp simd
    for (index i = parts.gate; i < parts.strength; ++i) activated[i] = sigmoid(activated[i]);
    for (index i = parts.strength; i < parts.sharpening; ++i) activated[i] = softplus(activated[i]);
    for (index i = parts.sharpening; i < parts.moves; ++i) activated[i] = T(s.least_sharpening) + softplus(activated[i]);
    for (index h = 0; h < s.heads(); ++h) {
        T* moves = activated + parts.moves + h * s.moves();
        softmax(s.moves(), T(1), moves, moves);
    }
}

// Replaces dactivated by the gradient of the interface vector before the activations.
template <class T>
void activate_backward(const Sizes& s, const Parts& parts, const T* __restrict emitted, const T* __restrict activated,
                       T* __restrict dactivated) {
    for (index i = parts.key; i < parts.gate; ++i) dactivated[i] *= T(1) - activated[i] * activated[i];
    for (index i = parts.gate; i < parts.strength; ++i) dactivated[i] *= activated[i] * (T(1) - activated[i]);
    for (index i = parts.strength; i < parts.moves; ++i) dactivated[i] *= sigmoid(emitted[i]);
    for (index h = 0; h < s.heads(); ++h) {
        const T* moves = activated + parts.moves + h * s.moves();
        T* dmoves = dactivated + parts.moves + h * s.moves();
        const T mean = dot(s.moves(), moves, dmoves);
        for (index i = 0; i < s.moves(); ++i) dmoves[i] = moves[i] * (dmoves[i] - mean);
    }
    for (index i = 0; i < s.emitted(); ++i)
        if (std::fabs(emitted[i]) > T(head_limit)) dactivated[i] = 0;
}

}  // namespace
}  // namespace ntm
