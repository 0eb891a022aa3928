// The link matrix (Graves et al. 2016, temporal memory linkage), forward and backward, in one pass over its numbers.
//
// A pass takes a few rows at once. It updates them, adds each to the forward weightings of its slots, and their sum to
// the backward weightings of all slots, for up to four read heads; more heads take another pass.
#pragma once

#include <algorithm>

#include "../cpu/products.hpp"

namespace ntm {
namespace {

constexpr int link_rows = 4, heads_at_once = 4;

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

// (1 - to - source) link + to * precedence. A compiler can fuse these multiplications and additions in one way only, so
// that all passes give the same bits.
template <class V, class T>
inline V updated(V link, T to, V source, V precedence) {
    const V moved = link + to * (precedence - link);
    return moved - source * link;
}

// The arguments of a pass.
template <class T>
struct Links {
    index slots;
    const T *before, *weights, *precedence;  // links, the write weighting of this step, the precedence before it
    const T* looks;                          // heads, slots: read weightings of the step before
};

// Numbers of `Rows` slots from slot i, of which each is a factor of a whole row.
template <class T, int Rows>
struct Factors {
    T numbers[Rows];
    Factors(const T* from, index i) {
        for (int r = 0; r < Rows; ++r) numbers[r] = from[i + r];
    }
    T operator[](int r) const { return numbers[r]; }
};

// `Rows` rows from row i; columns from j to `end`, as many at a time as `Kind` has. Adds to `forward`.
template <class T, int Rows, int Heads, bool Update, class Kind>
inline index link_columns(index i, index j, index end, const Links<T>& l, T* after, T* forward, T* backward) {
    typename Kind::type sums[Rows][Heads];
    const index slots = l.slots;
    const T *before = l.before + i * slots, *looks = l.looks, *weights = l.weights, *precedence = l.precedence;
    const Factors<T, Rows> written(weights, i);
    T looked[Heads][Rows];
#pragma GCC unroll 4
    for (int r = 0; r < Rows; ++r) {
#pragma GCC unroll 4
        for (int k = 0; k < Heads; ++k) {
            looked[k][r] = looks[k * slots + i + r];
            sums[r][k] = typename Kind::type{};
        }
    }
    if (after) after += i * slots;
    for (; j + Kind::lanes <= end; j += Kind::lanes) {
        typename Kind::type rows[Rows];
        const auto weight = Kind::load(weights + j), source = Kind::load(precedence + j);
#pragma GCC unroll 4
        for (int r = 0; r < Rows; ++r) {
            rows[r] = Kind::load(before + r * slots + j);
            if constexpr (Update) rows[r] = updated(rows[r], written[r], weight, source);
        }
        clear_diagonal<T, Rows, Kind>(i, j, rows);
        if (Update && after)
#pragma GCC unroll 4
            for (int r = 0; r < Rows; ++r) Kind::store(after + r * slots + j, rows[r]);
#pragma GCC unroll 4
        for (int k = 0; k < Heads; ++k) {
            const auto look = Kind::load(looks + k * slots + j);
            auto sum = Kind::load(backward + k * slots + j);
#pragma GCC unroll 4
            for (int r = 0; r < Rows; ++r) {
                sums[r][k] += rows[r] * look;
                sum += looked[k][r] * rows[r];
            }
            Kind::store(backward + k * slots + j, sum);
        }
    }
#pragma GCC unroll 4
    for (int r = 0; r < Rows; ++r)
#pragma GCC unroll 4
        for (int k = 0; k < Heads; ++k) forward[k * slots + i + r] += total<T, sizeof(typename Kind::type)>(sums[r][k]);
    return j;
}

// `Rows` rows from row i; `after` may be null or `before`.
template <class T, int Rows, int Heads, bool Update>
inline void link_block(index i, const Links<T>& l, T* after, T* forward, T* backward) {
    const index j = link_columns<T, Rows, Heads, Update, Vector<T>>(i, 0, l.slots, l, after, forward, backward);
    if (j < l.slots) link_columns<T, Rows, Heads, Update, One<T>>(i, j, l.slots, l, after, forward, backward);
}

template <class T, int Heads, bool Update>
inline void link_pass(const Links<T>& l, T* after, T* forward, T* backward) {
    index i = 0;
    for (; i + link_rows <= l.slots; i += link_rows)
        link_block<T, link_rows, Heads, Update>(i, l, after, forward, backward);
    for (; i < l.slots; ++i) link_block<T, 1, Heads, Update>(i, l, after, forward, backward);
}

// Updates the links, and sets the weightings along them: forward L w and backward L^T w of each head. `after` may be
// `before`, or null if only the weightings are needed.
template <class T>
inline void follow_links(index heads, const Links<T>& links, T* after, T* forward, T* backward) {
    std::fill_n(forward, heads * links.slots, T(0));
    std::fill_n(backward, heads * links.slots, T(0));
    for_some_heads(heads, [&](auto some, index h) {
        Links<T> l = links;
        l.looks += h * l.slots;
        T *along = forward + h * l.slots, *against = backward + h * l.slots;
        if (h && after) {  // they are updated already
            l.before = after;
            link_pass<T, some, false>(l, nullptr, along, against);
        } else {
            link_pass<T, some, true>(l, after, along, against);
        }
    });
}

// Gradients of a pass.
template <class T>
struct LinkGradients {
    const T *forward, *backward;    // heads, slots
    T *link, *weights, *precedence;
    T* looks;
};

// As `link_columns`; `Last`: these are the last heads.
template <class T, int Rows, int Heads, bool Last, class Kind>
inline index link_columns_backward(index i, index j, index end, const Links<T>& l, const LinkGradients<T>& d) {
    typename Kind::type sums[Rows][Heads], of_weights[Rows];
    const index slots = l.slots;
    const T *before = l.before + i * slots, *looks = l.looks, *weights = l.weights, *precedence = l.precedence;
    const T *forward = d.forward, *backward = d.backward;
    T *dlink = d.link + i * slots, *dlooks = d.looks, *dweights = d.weights, *dprecedence = d.precedence;
    const Factors<T, Rows> written(weights, i);
    T stays[Rows], looked[Heads][Rows], dforward[Heads][Rows];
#pragma GCC unroll 4
    for (int r = 0; r < Rows; ++r) {
        stays[r] = T(1) - written[r];
        of_weights[r] = typename Kind::type{};
#pragma GCC unroll 4
        for (int k = 0; k < Heads; ++k) {
            looked[k][r] = looks[k * slots + i + r];
            dforward[k][r] = forward[k * slots + i + r];
            sums[r][k] = typename Kind::type{};
        }
    }
    for (; j + Kind::lanes <= end; j += Kind::lanes) {
        typename Kind::type rows[Rows], drows[Rows];
        const auto weight = Kind::load(weights + j), source = Kind::load(precedence + j);
#pragma GCC unroll 4
        for (int r = 0; r < Rows; ++r) {
            rows[r] = updated(Kind::load(before + r * slots + j), written[r], weight, source);
            drows[r] = Kind::load(dlink + r * slots + j);
        }
        clear_diagonal<T, Rows, Kind>(i, j, rows);
#pragma GCC unroll 4
        for (int k = 0; k < Heads; ++k) {
            const auto look = Kind::load(looks + k * slots + j), dbackward = Kind::load(backward + k * slots + j);
            auto dlook = Kind::load(dlooks + k * slots + j);
#pragma GCC unroll 4
            for (int r = 0; r < Rows; ++r) {
                drows[r] += dforward[k][r] * look;
                drows[r] += looked[k][r] * dbackward;
                dlook += dforward[k][r] * rows[r];
                sums[r][k] += rows[r] * dbackward;
            }
            Kind::store(dlooks + k * slots + j, dlook);
        }
        if constexpr (Last) {
            clear_diagonal<T, Rows, Kind>(i, j, drows);
            auto dweight = Kind::load(dweights + j), dsource = Kind::load(dprecedence + j);
#pragma GCC unroll 4
            for (int r = 0; r < Rows; ++r) {
                const auto link = Kind::load(before + r * slots + j);
                dweight -= drows[r] * link;
                of_weights[r] += drows[r] * (source - link);
                dsource += written[r] * drows[r];
                drows[r] = (stays[r] - weight) * drows[r];
            }
            Kind::store(dweights + j, dweight);
            Kind::store(dprecedence + j, dsource);
        }
#pragma GCC unroll 4
        for (int r = 0; r < Rows; ++r) Kind::store(dlink + r * slots + j, drows[r]);
    }
#pragma GCC unroll 4
    for (int r = 0; r < Rows; ++r) {
        constexpr int bytes = sizeof(typename Kind::type);
#pragma GCC unroll 4
        for (int k = 0; k < Heads; ++k) dlooks[k * slots + i + r] += total<T, bytes>(sums[r][k]);
        if constexpr (Last) dweights[i + r] += total<T, bytes>(of_weights[r]);
    }
    return j;
}

template <class T, int Rows, int Heads, bool Last>
inline void link_block_backward(index i, const Links<T>& l, const LinkGradients<T>& d) {
    const index j = link_columns_backward<T, Rows, Heads, Last, Vector<T>>(i, 0, l.slots, l, d);
    if (j < l.slots) link_columns_backward<T, Rows, Heads, Last, One<T>>(i, j, l.slots, l, d);
}

template <class T, int Heads, bool Last>
inline void link_pass_backward(const Links<T>& l, const LinkGradients<T>& d) {
    index i = 0;
    for (; i + link_rows <= l.slots; i += link_rows) link_block_backward<T, link_rows, Heads, Last>(i, l, d);
    for (; i < l.slots; ++i) link_block_backward<T, 1, Heads, Last>(i, l, d);
}

// Replaces the gradient of the links after a step by that of those before, sets dlooks, and adds to the others.
template <class T>
inline void follow_links_backward(index heads, const Links<T>& links, const LinkGradients<T>& gradients) {
    std::fill_n(gradients.looks, heads * links.slots, T(0));
    for_some_heads(heads, [&](auto some, index h) {
        Links<T> l = links;
        LinkGradients<T> d = gradients;
        for (const T** part : {&l.looks, &d.forward, &d.backward}) *part += h * l.slots;
        d.looks += h * l.slots;
        h + some < heads ? link_pass_backward<T, some, false>(l, d) : link_pass_backward<T, some, true>(l, d);
    });
}

}  // namespace
}  // namespace ntm
