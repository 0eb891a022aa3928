// Products of matrices and vectors, from which the stages are composed.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <type_traits>

#include "compilers.hpp"

namespace ntm {
namespace {

using index = std::int64_t;

#if defined(__AVX512F__)
constexpr int vector_bytes = 64, rows_at_once = 8, columns_at_once = 3;
#elif defined(__AVX__)
constexpr int vector_bytes = 32, rows_at_once = 4, columns_at_once = 2;
#else
constexpr int vector_bytes = 16, rows_at_once = 4, columns_at_once = 2;
#endif

// A compile-time constant.
template <int N>
using Count = std::integral_constant<int, N>;

template <class T>
struct Vector {
    typedef typename LanesOf<T, vector_bytes>::type type;
    static constexpr int lanes = vector_bytes / sizeof(T);
    static type load(const T* from) {
        type value;
        std::memcpy(&value, from, sizeof value);
        return value;
    }
    static void store(T* to, type value) { std::memcpy(to, &value, sizeof value); }
};

// One number, for the elements that do not fill a vector.
template <class T>
struct One {
    typedef T type;
    static constexpr int lanes = 1;
    static type load(const T* from) { return *from; }
    static void store(T* to, type value) { *to = value; }
};

// The sum of a vector of `Bytes`, by adding its halves.
template <class T, int Bytes = vector_bytes, class V>
inline T total(V values) {
    if constexpr (Bytes == sizeof(T)) {
        T sum;
        std::memcpy(&sum, &values, sizeof sum);
        return sum;
    } else {
        typedef typename LanesOf<T, Bytes / 2>::type Half;
        Half low, high;
        std::memcpy(&low, &values, sizeof low);
        std::memcpy(&high, reinterpret_cast<const char*>(&values) + Bytes / 2, sizeof high);
        return total<T, Bytes / 2>(low + high);
    }
}

// Calls work(kind, count, i) for all i below n, `count` numbers of `kind` at a time: `Vectors` of Vector<T>, then one,
// then One<T>.
template <class T, int Vectors, class Work>
inline void along(index n, const Work& work) {
    constexpr int lanes = Vector<T>::lanes;
    index i = 0;
    for (; i + Vectors * lanes <= n; i += Vectors * lanes) work(Vector<T>{}, Count<Vectors>{}, i);
    if constexpr (Vectors > 1)
        for (; i + lanes <= n; i += lanes) work(Vector<T>{}, Count<1>{}, i);
    for (; i < n; ++i) work(One<T>{}, Count<1>{}, i);
}

// Calls work with Count<heads>, so that loops over few heads are unrolled; Count<0> stands for any number.
template <class Work>
inline void for_heads(index heads, const Work& work) {
    heads == 1 ? work(Count<1>{}) : work(Count<0>{});
}

// Strides between the rows of the matrices of `linear`, and between the columns of `a`, in numbers.
struct Strides {
    index a, b, out, step = 1;
};

// A block of `Rows` x (`Vectors` * lanes) of `linear`, of which the last `stored` columns are written. The terms of an
// element are added in the same order in any block, so results do not depend on how threads share the rows.
template <class T, int Rows, int Vectors>
inline void linear_block(index inner, const T* a, const T* b, T* out, const Strides& stride, bool accumulate,
                         int stored = Vectors * Vector<T>::lanes) {
    using V = Vector<T>;
    typename V::type sums[Rows][Vectors];
    for (int r = 0; r < Rows; ++r)
        for (int v = 0; v < Vectors; ++v)
            sums[r][v] = accumulate ? V::load(out + r * stride.out + v * V::lanes) : typename V::type{};
    for (index k = 0; k < inner; ++k) {
        typename V::type loaded[Vectors];
        for (int v = 0; v < Vectors; ++v) loaded[v] = V::load(b + k * stride.b + v * V::lanes);
        for (int r = 0; r < Rows; ++r) {
            const T factor = a[r * stride.a + k * stride.step];
            for (int v = 0; v < Vectors; ++v) sums[r][v] += factor * loaded[v];
        }
    }
    constexpr int all = Vectors * V::lanes;
    for (int r = 0; r < Rows; ++r) {
        T* row = out + r * stride.out;
        if (stored == all)
            for (int v = 0; v < Vectors; ++v) V::store(row + v * V::lanes, sums[r][v]);
        else
            std::memcpy(row + all - stored, reinterpret_cast<const T*>(sums[r]) + all - stored, stored * sizeof(T));
    }
}

// `Rows` rows of `linear`. The last block begins earlier if the remaining columns do not fill it, and does not
// write the columns of the block before.
template <class T, int Rows>
inline void linear_rows(index inner, index columns, const T* a, const T* b, T* out, const Strides& stride,
                        bool accumulate) {
    constexpr index lanes = Vector<T>::lanes;
    index column = 0;
    const auto block = [&](auto vectors) {
        const index start = std::min(column, columns - vectors * lanes), end = start + vectors * lanes;
        linear_block<T, Rows, vectors>(inner, a, b + start, out + start, stride, accumulate, int(end - column));
        column = end;
    };
    // Fewer rows leave room for more columns, so that additions do not wait for each other.
    constexpr index widest = rows_at_once * columns_at_once / Rows;
    while (columns >= lanes && column < columns) {
        const index left = std::min((columns - column + lanes - 1) / lanes, columns / lanes);
        if (widest >= 8 && left >= 8)
            block(Count<(widest >= 8 ? 8 : 1)>{});
        else if (widest >= 4 && left >= 4)
            block(Count<(widest >= 4 ? 4 : 1)>{});
        else if (widest >= 3 && left >= 3 && left != 4)  // four are computed as two and two
            block(Count<(widest >= 3 ? 3 : 1)>{});
        else
            left >= 2 ? block(Count<2>{}) : block(Count<1>{});
    }
    for (; column < columns; ++column)
        for (int r = 0; r < Rows; ++r) {
            T sum = accumulate ? out[r * stride.out + column] : T(0);
            for (index k = 0; k < inner; ++k) sum += a[r * stride.a + k * stride.step] * b[k * stride.b + column];
            out[r * stride.out + column] = sum;
        }
}

// The remaining rows of `linear`, at most `Rows` at once.
template <class T, int Rows>
inline void linear_from(index row, index rows, index inner, index columns, const T* a, const T* b, T* out,
                        const Strides& stride, bool accumulate) {
    for (; row + Rows <= rows; row += Rows)
        linear_rows<T, Rows>(inner, columns, a + row * stride.a, b, out + row * stride.out, stride, accumulate);
    if constexpr (Rows > 1)
        linear_from<T, Rows / 2>(row, rows, inner, columns, a, b, out, stride, accumulate);
}

// out (rows x columns) = [out +] a (rows x inner) times b (inner x columns).
template <class T>
inline void linear(index rows, index inner, index columns, const T* a, const T* b, T* out, const Strides& stride,
                   bool accumulate) {
    linear_from<T, rows_at_once>(0, rows, inner, columns, a, b, out, stride, accumulate);
}

// to (columns x rows) = from (rows x columns) transposed.
template <class T>
inline void transpose(index rows, index columns, const T* __restrict from, index stride, T* __restrict to) {
    for (index column = 0; column < columns; ++column)
        for (index row = 0; row < rows; ++row) to[column * rows + row] = from[row * stride + column];
}

// The sum of term(kind, i) over all i below n. Written with vectors: compilers would sum the last
// vector of a plain loop element by element.
template <class T, class Term>
inline T sum_of(index n, const Term& term) {
    constexpr int lanes = Vector<T>::lanes;
    typename Vector<T>::type even = {}, odd = {};
    T rest = 0;
    index i = 0;
    for (; i + 2 * lanes <= n; i += 2 * lanes) {
        even += term(Vector<T>{}, i);
        odd += term(Vector<T>{}, i + lanes);
    }
    for (; i + lanes <= n; i += lanes) even += term(Vector<T>{}, i);
    for (; i < n; ++i) rest += term(One<T>{}, i);
    return total<T>(even + odd) + rest;
}

// The sum over n of x[n].
template <class T>
inline T sum(index n, const T* x) {
    return sum_of<T>(n, [=](auto kind, index i) { return decltype(kind)::load(x + i); });
}

// The sum over n of x[n] y[n].
template <class T>
inline T dot(index n, const T* x, const T* y) {
    return sum_of<T>(n, [=](auto kind, index i) { return decltype(kind)::load(x + i) * decltype(kind)::load(y + i); });
}

// out[r] = the sum over n of x[n] rows[r][n], four rows at a time: their additions do not wait for each other.
template <class T>
inline void dots(index count, index n, const T* x, const T* rows, T* out) {
    using V = Vector<T>;
    index r = 0;
    for (; r + 4 <= count; r += 4) {
        typename V::type sums[4] = {};
        T rest[4] = {};
        const auto add = [=](auto kind, index i, auto& sums) {
            const auto factor = decltype(kind)::load(x + i);
#pragma GCC unroll 4
            for (int k = 0; k < 4; ++k) sums[k] += factor * decltype(kind)::load(rows + (r + k) * n + i);
        };
        index i = 0;
        for (; i + V::lanes <= n; i += V::lanes) add(V{}, i, sums);
        for (; i < n; ++i) add(One<T>{}, i, rest);
#pragma GCC unroll 4
        for (int k = 0; k < 4; ++k) out[r + k] = total<T>(sums[k]) + rest[k];
    }
    for (; r < count; ++r) out[r] = dot(n, x, rows + r * n);
}

}  // namespace
}  // namespace ntm
