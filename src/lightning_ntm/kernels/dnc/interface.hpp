// The interface vector, which the controller sends to the heads: its parts and their activations.
#pragma once

#include "arrays.hpp"
#include "stages.hpp"

namespace ntm {
namespace {

// Offsets of the parts of the interface vector, in the order of dnc_memory.py: none, sigmoid, 1 + softplus, softmax.
// Without masking and without sharpening their parts are empty.
struct Parts {
    index read_key, write_key, add, erase, free, allocation_gate, write_gate, read_mask, write_mask, read_strength,
        write_strength, forward_sharpness, backward_sharpness, modes;
    explicit Parts(const Sizes& s) {
        const index masks = s.masking ? s.width : 0, sharpness = s.sharpening ? s.reads : 0;
        read_key = 0;
        write_key = read_key + s.read_size();
        add = write_key + s.width;
        erase = add + s.width;
        free = erase + s.width;
        allocation_gate = free + s.reads;
        write_gate = allocation_gate + 1;
        read_mask = write_gate + 1;
        write_mask = read_mask + s.reads * masks;
        read_strength = write_mask + masks;
        write_strength = read_strength + s.reads;
        forward_sharpness = write_strength + 1;
        backward_sharpness = forward_sharpness + sharpness;
        modes = backward_sharpness + sharpness;
    }
};

constexpr double linear_above = 20;  // softplus of PyTorch is the identity there

// Applies the activations to an interface vector.
template <class T>
void activate(const Sizes& s, const Parts& parts, const T* __restrict emitted, T* __restrict activated) {
    std::copy_n(emitted, s.emitted(), activated);
#pragma omp simd
    for (index i = parts.erase; i < parts.read_strength; ++i) activated[i] = sigmoid(activated[i]);
    const T floor = T(s.mask_floor);
    for (index i = parts.read_mask; i < parts.read_strength; ++i) activated[i] = floor + (T(1) - floor) * activated[i];
    for (index i = parts.read_strength; i < parts.modes; ++i)
        activated[i] = T(1) + (emitted[i] > T(linear_above) ? emitted[i] : softplus(emitted[i]));
    for (index h = 0; h < s.reads; ++h) {
        T* modes = activated + parts.modes + h * 3;
        softmax(3, T(1), modes, modes);
    }
}

// Replaces dactivated by the gradient of the interface vector before the activations.
template <class T>
void activate_backward(const Sizes& s, const Parts& parts, const T* __restrict emitted, const T* __restrict activated,
                       T* __restrict dactivated) {
    for (index i = parts.erase; i < parts.read_mask; ++i) dactivated[i] *= activated[i] * (T(1) - activated[i]);
    for (index i = parts.read_mask; i < parts.read_strength; ++i) {
        const T gate = sigmoid(emitted[i]);
        dactivated[i] *= (T(1) - T(s.mask_floor)) * gate * (T(1) - gate);
    }
    for (index i = parts.read_strength; i < parts.modes; ++i)
        if (!(emitted[i] > T(linear_above))) dactivated[i] *= sigmoid(emitted[i]);
    for (index h = 0; h < s.reads; ++h) {
        const T* modes = activated + parts.modes + h * 3;
        T* dmodes = dactivated + parts.modes + h * 3;
        const T mean = dot(3, modes, dmodes);
        for (index i = 0; i < 3; ++i) dmodes[i] = modes[i] * (dmodes[i] - mean);
    }
}

}  // namespace
}  // namespace ntm
