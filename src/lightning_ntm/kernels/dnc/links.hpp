// The link matrix (Graves et al. 2016, temporal memory linkage), forward and backward, in one pass over its numbers.
//
// A pass takes a few rows at once. It updates them, adds each to the forward weightings of its slots, and their sum to
// the backward weightings of all slots, for up to four read heads; more heads take another pass.
#pragma once

#include <algorithm>

#include "../cpu/products.hpp"

namespace ntm {
namespace {

constexpr int link_rows = vector_bytes == 64 ? 4 : 2, heads_at_once = 4;

// Calls work with Count<1> to Count<heads_at_once> for all heads, and the first of them.
template <class Work>
inline void for_some_heads(index heads, const Work& work) {
    for (index h = 0; h < heads; h += heads_at_once) switch (heads - h) {
            case 1: work(Count<1>{}, h); break;
            case 2: work(Count<2>{}, h); break;
            case 3: work(Count<3>{}, h); break;
            default: work(Count<heads_at_once>{}, h);
        }
}

// Ones around a zero: the `Lanes` numbers from 0 to the zero are zero at one place only.
template <class T, int Lanes>
struct OneZero {
    T numbers[2 * Lanes - 1];
    constexpr OneZero() : numbers() {
        for (T& number : numbers) number = T(1);
        numbers[Lanes - 1] = T(0);
    }
};

// Sets to zero what is on the diagonal in `Rows` rows from row i, in columns from j.
template <class T, int Rows, class V>
inline void clear_diagonal(index i, index j, typename V::type (&rows)[Rows]) {
    static constexpr OneZero<T, V::lanes> mask;
    if (j >= i + Rows || i >= j + V::lanes) return;
    for (int r = 0; r < Rows; ++r)
        if (const index place = i + r - j; place >= 0 && place < V::lanes)
            rows[r] = rows[r] * V::load(mask.numbers + V::lanes - 1 - place);
}

// The arguments of a pass.
template <class T>
struct Links {
    index slots;
    const T *before, *weights, *precedence;  // links, the write weighting of this step, the precedence before it
    const T* looks;                          // heads, slots: read weightings of the step before
};

// `Rows` rows from row i, for heads from h; `after` may be null or `before`.
template <class T, int Rows, int Heads, bool Update>
inline void link_block(index i, index h, const Links<T>& l, T* after, T* forward, T* backward) {
    typename Vector<T>::type sums[Rows][Heads] = {};
    T rest[Rows][Heads] = {};
    const index slots = l.slots;
    const T *looks = l.looks + h * slots, *weights = l.weights;
    const auto step = [&](auto kind, index j, auto& sums) {
        using V = decltype(kind);
        typename V::type rows[Rows];
#pragma GCC unroll 4
        for (int r = 0; r < Rows; ++r) {
            rows[r] = V::load(l.before + (i + r) * slots + j);
            if constexpr (Update)
                rows[r] = ((T(1) - weights[i + r]) - V::load(weights + j)) * rows[r] +
                          weights[i + r] * V::load(l.precedence + j);
        }
        clear_diagonal<T, Rows, V>(i, j, rows);
#pragma GCC unroll 4
        for (int r = 0; Update && after && r < Rows; ++r) V::store(after + (i + r) * slots + j, rows[r]);
#pragma GCC unroll 4
        for (int k = 0; k < Heads; ++k) {
            const auto look = V::load(looks + k * slots + j);
            auto sum = V::load(backward + (h + k) * slots + j);
#pragma GCC unroll 4
            for (int r = 0; r < Rows; ++r) {
                sums[r][k] += rows[r] * look;
                sum += looks[k * slots + i + r] * rows[r];
            }
            V::store(backward + (h + k) * slots + j, sum);
        }
    };
    index j = 0;
    for (; j + Vector<T>::lanes <= slots; j += Vector<T>::lanes) step(Vector<T>{}, j, sums);
    for (; j < slots; ++j) step(One<T>{}, j, rest);
    for (int r = 0; r < Rows; ++r)
        for (int k = 0; k < Heads; ++k) forward[(h + k) * slots + i + r] = total<T>(sums[r][k]) + rest[r][k];
}

template <class T, int Heads, bool Update>
inline void link_pass(index h, const Links<T>& l, T* after, T* forward, T* backward) {
    index i = 0;
    for (; i + link_rows <= l.slots; i += link_rows)
        link_block<T, link_rows, Heads, Update>(i, h, l, after, forward, backward);
    for (; i < l.slots; ++i) link_block<T, 1, Heads, Update>(i, h, l, after, forward, backward);
}

// Updates the links, and sets the weightings along them: forward L w and backward L^T w of each head. `after` may be
// `before`, or null if only the weightings are needed.
template <class T>
inline void follow_links(index heads, const Links<T>& l, T* after, T* forward, T* backward) {
    std::fill_n(backward, heads * l.slots, T(0));
    for_some_heads(heads, [&](auto some, index h) {
        if (h && after)
            link_pass<T, some, false>(h, {l.slots, after, l.weights, l.precedence, l.looks}, nullptr, forward,
                                      backward);
        else
            link_pass<T, some, true>(h, l, after, forward, backward);
    });
}

// Gradients of a pass.
template <class T>
struct LinkGradients {
    const T *forward, *backward;    // heads, slots
    T *link, *weights, *precedence;
    T* looks;
};

// `Last`: these are the last heads.
template <class T, int Rows, int Heads, bool Last>
inline void link_block_backward(index i, index h, const Links<T>& l, const LinkGradients<T>& d) {
    typename Vector<T>::type sums[Rows][Heads] = {}, of_weights[Rows] = {};
    T rest[Rows][Heads] = {}, rest_of_weights[Rows] = {};
    const index slots = l.slots;
    const T *looks = l.looks + h * slots, *weights = l.weights;
    const T *forward = d.forward + h * slots, *backward = d.backward + h * slots;
    T* dlooks = d.looks + h * slots;
    const auto step = [&](auto kind, index j, auto& sums, auto& of_weights) {
        using V = decltype(kind);
        typename V::type rows[Rows], drows[Rows];
        const auto weight = V::load(weights + j), source = V::load(l.precedence + j);
#pragma GCC unroll 4
        for (int r = 0; r < Rows; ++r) {
            rows[r] = ((T(1) - weights[i + r]) - weight) * V::load(l.before + (i + r) * slots + j) +
                      weights[i + r] * source;
            drows[r] = V::load(d.link + (i + r) * slots + j);
        }
        clear_diagonal<T, Rows, V>(i, j, rows);
#pragma GCC unroll 4
        for (int k = 0; k < Heads; ++k) {
            const auto look = V::load(looks + k * slots + j), dbackward = V::load(backward + k * slots + j);
            auto dlook = V::load(dlooks + k * slots + j);
#pragma GCC unroll 4
            for (int r = 0; r < Rows; ++r) {
                const T dforward = forward[k * slots + i + r];
                drows[r] += dforward * look + looks[k * slots + i + r] * dbackward;
                dlook += dforward * rows[r];
                sums[r][k] += rows[r] * dbackward;
            }
            V::store(dlooks + k * slots + j, dlook);
        }
        if constexpr (Last) {
            clear_diagonal<T, Rows, V>(i, j, drows);
            auto dweight = V::load(d.weights + j), dsource = V::load(d.precedence + j);
#pragma GCC unroll 4
            for (int r = 0; r < Rows; ++r) {
                const auto link = V::load(l.before + (i + r) * slots + j);
                dweight -= drows[r] * link;
                of_weights[r] += drows[r] * (source - link);
                dsource += weights[i + r] * drows[r];
                drows[r] = ((T(1) - weights[i + r]) - weight) * drows[r];
            }
            V::store(d.weights + j, dweight);
            V::store(d.precedence + j, dsource);
        }
#pragma GCC unroll 4
        for (int r = 0; r < Rows; ++r) V::store(d.link + (i + r) * slots + j, drows[r]);
    };
    index j = 0;
    for (; j + Vector<T>::lanes <= slots; j += Vector<T>::lanes) step(Vector<T>{}, j, sums, of_weights);
    for (; j < slots; ++j) step(One<T>{}, j, rest, rest_of_weights);
    for (int r = 0; r < Rows; ++r) {
        for (int k = 0; k < Heads; ++k) dlooks[k * slots + i + r] += total<T>(sums[r][k]) + rest[r][k];
        if (Last) d.weights[i + r] += total<T>(of_weights[r]) + rest_of_weights[r];
    }
}

template <class T, int Heads, bool Last>
inline void link_pass_backward(index h, const Links<T>& l, const LinkGradients<T>& d) {
    index i = 0;
    for (; i + link_rows <= l.slots; i += link_rows) link_block_backward<T, link_rows, Heads, Last>(i, h, l, d);
    for (; i < l.slots; ++i) link_block_backward<T, 1, Heads, Last>(i, h, l, d);
}

// Replaces the gradient of the links after a step by that of those before, sets dlooks, and adds to the others.
template <class T>
inline void follow_links_backward(index heads, const Links<T>& l, const LinkGradients<T>& d) {
    std::fill_n(d.looks, heads * l.slots, T(0));
    for_some_heads(heads, [&](auto some, index h) {
        h + some < heads ? link_pass_backward<T, some, false>(h, l, d) : link_pass_backward<T, some, true>(h, l, d);
    });
}

}  // namespace
}  // namespace ntm
