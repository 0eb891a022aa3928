// The layers of a controller, for the programs of all networks.
#pragma once

#include <algorithm>

#include "numerics.hpp"
#include "products.hpp"

namespace ntm {
namespace {

// One layer of the controller: its weights, and the saved arrays of its steps.
template <class T>
struct Layer {
    const T* weight;  // gates, inner
    const T* bias;    // gates
    T* arranged;      // the weight, arranged before the first step: forward inner, gates; backward gates, stride
    T* input;         // time + 1, batch, inner
    T* gates;         // time, batch, gates: after the activations
    T* cell;          // time + 1, batch, hidden
    T* dgates;        // time, batch, gates: gradients before the activations
    T* dweight;       // gates, inner
    T* dbias;         // gates
};

// The activations of an LSTM layer in one step: gates in the order input, forget, cell, output.
template <class T>
void lstm_step(index hidden, T* __restrict gates, const T* before, T* cell, T* __restrict out) {
    T *input = gates, *forget = gates + hidden, *candidate = gates + 2 * hidden, *output = gates + 3 * hidden;
#pragma omp simd
    for (index i = 0; i < 2 * hidden; ++i) input[i] = sigmoid(input[i]);
#pragma omp simd
    for (index i = 0; i < hidden; ++i) candidate[i] = tanh(candidate[i]);
#pragma omp simd
    for (index i = 0; i < hidden; ++i) output[i] = sigmoid(output[i]);
#pragma omp simd
    for (index i = 0; i < hidden; ++i) {
        const T now = forget[i] * before[i] + input[i] * candidate[i];
        cell[i] = now;
        out[i] = output[i] * tanh(now);
    }
}

// Sets dgates; replaces dcell by the gradient of the previous cell state.
template <class T>
void lstm_step_backward(index hidden, const T* __restrict gates, const T* __restrict before, const T* __restrict cell,
                        const T* __restrict dhidden, T* __restrict dcell, T* __restrict dgates) {
    const T *input = gates, *forget = gates + hidden, *candidate = gates + 2 * hidden, *output = gates + 3 * hidden;
#pragma omp simd
    for (index i = 0; i < hidden; ++i) {
        const T shown = tanh(cell[i]);
        const T dc = dcell[i] + dhidden[i] * output[i] * (T(1) - shown * shown);
        dgates[i] = dc * candidate[i] * input[i] * (T(1) - input[i]);
        dgates[hidden + i] = dc * before[i] * forget[i] * (T(1) - forget[i]);
        dgates[2 * hidden + i] = dc * input[i] * (T(1) - candidate[i] * candidate[i]);
        dgates[3 * hidden + i] = dhidden[i] * shown * output[i] * (T(1) - output[i]);
        dcell[i] = dc * forget[i];
    }
}

// Gradients of one linear layer over all steps and sequences: the sums over `count` rows of `dout` times `input`. It
// computes some rows of the layer, so that threads share the rows and each sum is computed by one thread.
template <class T>
void weight_gradient(index first, index rows, index count, index outputs, index inputs, const T* dout, const T* input,
                     index stride, T* dweight, T* dbias) {
    constexpr index at_once = 128;  // rows of `input` that stay in the cache
    std::fill_n(dbias + first, rows, T(0));
    for (index start = 0; start < count; start += at_once) {
        const index some = std::min(at_once, count - start);
        linear(rows, some, inputs, dout + start * outputs + first, input + start * stride, dweight + first * inputs,
               {1, stride, inputs, outputs}, start > 0);
        for (index k = start; k < start + some; ++k)
            for (index i = first; i < first + rows; ++i) dbias[i] += dout[k * outputs + i];
    }
}

}  // namespace
}  // namespace ntm
