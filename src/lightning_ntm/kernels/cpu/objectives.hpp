// The output layer, the loss of its logits, and the gradients of both, for the programs of all networks.
//
// The losses are those of `tasks/answers.py`: sums over the steps where the mask is true. What stands in other steps
// changes nothing, even where it is NaN.
#pragma once

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdint>

#include "numerics.hpp"
#include "products.hpp"

namespace ntm {
namespace {

enum Kind : index { bits = 0, symbols = 1, numbers = 2 };  // KINDS in loss.py

// layout.py has the same fields.
struct Judged {
    index kind, outputs;
    index mean;        // 1: the loss is the mean over all units; 0: over the sequences
    index last;        // of `symbols`: the symbol that ends an answer, or -1
    double tolerance;  // of `numbers`: errors are further off
};

// Pointers in the order of `PLACES` in layout.py.
template <class T>
struct Places {
    const T* weight;           // outputs, features
    const T* bias;             // outputs
    const void* targets;       // batch, time, outputs; of `symbols` std::int64_t, batch, time
    const std::uint8_t* mask;  // batch, time: 1 or 0
    T* logits;                 // batch, time, outputs
    T* dlogits;                // time, batch, outputs
    T* doutput;                // time, batch, features
    T* dweight;                // outputs, features
    T* dbias;                  // outputs
    T* costs;                  // batch
    T* errors;                 // batch
    T* loss;                   // 1
};

// log(1 + x) for x in [0, 1], with the relative error of log near 1.
inline float log_one_plus(float x) {
    const float sum = 1.0f + x;
    return sum == 1.0f ? x : log(sum) * (x / (sum - 1.0f));
}
inline double log_one_plus(double x) { return std::log1p(x); }

// The outputs of a network over a batch.
struct Extent {
    index batch, time, features;
};

template <class T>
class Objective {
   public:
    Objective(const Judged& judged, const Places<T>& places, const Extent& extent)
        : o(judged), p(places), s(extent), units(count_units()), share(o.mean ? T(1) / T(units) : T(1) / T(s.batch)) {}

    // Computes logits, costs, errors and gradients of some sequences.
    void evaluate(const T* output, index first, index count) {
        for (index t = 0; t < s.time; ++t)
            for (index g = first; g < first + count; ++g) {
                T* row = logits(t, g);
                dots(o.outputs, s.features, output + (t * s.batch + g) * s.features, p.weight, row);
                for (index i = 0; i < o.outputs; ++i) row[i] += p.bias[i];
            }
        for (index g = first; g < first + count; ++g) judge(g);
        for (index t = 0; t < s.time; ++t) {
            const index at = t * s.batch + first;
            linear(count, o.outputs, s.features, p.dlogits + at * o.outputs, p.weight, p.doutput + at * s.features,
                   {o.outputs, s.features, s.features}, false);
        }
    }

    // Computes the loss, after all sequences. Returns whether all targets were allowed.
    bool finish() {
        double sum = 0;
        for (index g = 0; g < s.batch; ++g) sum += p.costs[g];
        *p.loss = T(sum / double(o.mean ? units : s.batch));
        return !fault;
    }

    index outputs() const { return o.outputs; }
    const Places<T>& places() const { return p; }

   private:
    index count_units() const {
        index steps = 0;
        for (index i = 0; i < s.batch * s.time; ++i) steps += p.mask[i];
        return steps * (o.kind == symbols ? 1 : o.outputs);
    }

    T* logits(index t, index g) const { return p.logits + (g * s.time + t) * o.outputs; }

    // Sums are over few numbers of T, then over the steps in double.
    void judge(index g) {
        double cost = 0;
        index errors = 0, ends = 0;
        for (index t = 0; t < s.time; ++t) {
            const T* row = logits(t, g);
            T* gradient = p.dlogits + (t * s.batch + g) * o.outputs;
            const index at = g * s.time + t;
            const bool asked = p.mask[at];
            if (o.kind == symbols) {
                const std::int64_t target = static_cast<const std::int64_t*>(p.targets)[at];
                if (asked && (target < 0 || target >= o.outputs)) fault = true;
                const bool known = asked && target >= 0 && target < o.outputs;
                if (known) cost += symbol(row, target, gradient);
                if (known && !ends) errors += is_wrong(row, target);
                ends += o.last >= 0 && target == o.last;
            } else if (asked) {
                const T* target = static_cast<const T*>(p.targets) + at * o.outputs;
                cost += o.kind == bits ? of_bits(row, target, gradient) : of_numbers(row, target, gradient);
                for (index i = 0; i < o.outputs; ++i)
                    errors += o.kind == bits ? !(target[i] > T(0.5) ? row[i] > T(0) : row[i] <= T(0))
                                             : !(std::fabs(row[i] - target[i]) <= T(o.tolerance));
            }
            if (!asked) std::fill_n(gradient, o.outputs, T(0));
        }
        p.costs[g] = T(cost);
        p.errors[g] = T(errors);
    }

    // Cross-entropy of independent bits, in nats.
    T of_bits(const T* logits, const T* targets, T* gradient) const {
        T cost = 0;
#pragma omp simd reduction(+ : cost)
        for (index i = 0; i < o.outputs; ++i) {
            const T x = logits[i], small = exp(-std::fabs(x)), all = T(1) / (T(1) + small);
            cost += (x > T(0) ? x : T(0)) - x * targets[i] + log_one_plus(small);
            gradient[i] = ((x > T(0) ? all : small * all) - targets[i]) * share;
        }
        return cost;
    }

    // Squared error.
    T of_numbers(const T* logits, const T* targets, T* gradient) const {
        T cost = 0;
#pragma omp simd reduction(+ : cost)
        for (index i = 0; i < o.outputs; ++i) {
            const T off = logits[i] - targets[i];
            cost += off * off;
            gradient[i] = T(2) * off * share;
        }
        return cost;
    }

    // Cross-entropy of one of several symbols, in nats.
    T symbol(const T* logits, index target, T* gradient) const {
        T largest = logits[0], sum = 0;
        for (index i = 1; i < o.outputs; ++i) largest = logits[i] > largest ? logits[i] : largest;
#pragma omp simd reduction(+ : sum)
        for (index i = 0; i < o.outputs; ++i) {
            gradient[i] = exp(logits[i] - largest);
            sum += gradient[i];
        }
        const T scale = share / sum;
#pragma omp simd
        for (index i = 0; i < o.outputs; ++i) gradient[i] *= scale;
        gradient[target] -= share;
        return log(sum) - (logits[target] - largest);
    }

    // Whether the largest logit, the first of equals, is another's, or one is NaN.
    bool is_wrong(const T* logits, index target) const {
        index best = 0;
        bool nan = false;
        for (index i = 0; i < o.outputs; ++i) {
            nan |= logits[i] != logits[i];
            if (logits[i] > logits[best]) best = i;
        }
        return nan || best != target;
    }

    const Judged& o;
    const Places<T>& p;
    const Extent s;
    const index units;
    const T share;  // of the cost of a sequence in the loss
    std::atomic<bool> fault{false};
};

}  // namespace
}  // namespace ntm
