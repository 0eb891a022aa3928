// The interface vector, by which the controller tells the heads what to do: its parts and their activations.
#pragma once

#include <cmath>

#include "arrays.hpp"
#include "stages.hpp"

namespace ntm {
namespace {

// Where the parts of what the heads are told begin, in the order of ntm_memory.py: tanh, sigmoid, softplus, softmax.
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

}  // namespace
}  // namespace ntm
