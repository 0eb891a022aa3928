// The two products that everything here is made of.
#pragma once

#include <cstdint>
#include <cstring>

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

template <class T>
struct Vector {
    typedef T type __attribute__((vector_size(vector_bytes)));
    static constexpr int lanes = vector_bytes / sizeof(T);
    static type load(const T* from) {
        type value;
        std::memcpy(&value, from, sizeof value);
        return value;
    }
    static void store(T* to, type value) { std::memcpy(to, &value, sizeof value); }
};

// One number, for what is left over by vectors.
template <class T>
struct One {
    typedef T type;
    static constexpr int lanes = 1;
    static type load(const T* from) { return *from; }
    static void store(T* to, type value) { *to = value; }
};

template <class T, class V>
inline T total(V values) {
    T sum = 0;
    for (unsigned i = 0; i < sizeof values / sizeof(T); ++i) sum += reinterpret_cast<const T*>(&values)[i];
    return sum;
}

// Calls work(kind, i) for all i below n: with Vector<T>, for as many numbers as that holds, then with One<T>.
template <class T, class Work>
inline void along(index n, const Work& work) {
    index i = 0;
    for (; i + Vector<T>::lanes <= n; i += Vector<T>::lanes) work(Vector<T>{}, i);
    for (; i < n; ++i) work(One<T>{}, i);
}

// From row to row of the matrices of `linear`, and from column to column of `a`, in numbers.
struct Strides {
    index a, b, out, step = 1;
};

// A block of `Rows` x (`Vectors` * lanes) of `linear`, of which the last `kept` columns are stored. Every element
// adds its terms in the same order whatever the block, so results do not depend on how rows are shared among threads.
template <class T, int Rows, int Vectors>
inline void linear_block(index inner, const T* a, const T* b, T* out, const Strides& stride, bool accumulate,
                         int kept = Vectors * Vector<T>::lanes) {
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
        if (kept == all)
            for (int v = 0; v < Vectors; ++v) V::store(row + v * V::lanes, sums[r][v]);
        else
            std::memcpy(row + all - kept, reinterpret_cast<const T*>(sums[r]) + all - kept, kept * sizeof(T));
    }
}

template <class T, int Rows>
inline void linear_rows(index inner, index columns, const T* a, const T* b, T* out, const Strides& stride,
                        bool accumulate) {
    constexpr int lanes = Vector<T>::lanes, wide = columns_at_once * lanes;
    index column = 0;
    for (; column + wide <= columns; column += wide)
        linear_block<T, Rows, columns_at_once>(inner, a, b + column, out + column, stride, accumulate);
    for (; column + lanes <= columns; column += lanes)
        linear_block<T, Rows, 1>(inner, a, b + column, out + column, stride, accumulate);
    if (column == columns) return;
    if (columns >= lanes) {  // the last vector again takes some of the columns before it, and leaves them as they are
        const index last = columns - lanes;
        linear_block<T, Rows, 1>(inner, a, b + last, out + last, stride, accumulate, int(columns - column));
        return;
    }
    for (; column < columns; ++column)
        for (int r = 0; r < Rows; ++r) {
            T sum = accumulate ? out[r * stride.out + column] : T(0);
            for (index k = 0; k < inner; ++k) sum += a[r * stride.a + k * stride.step] * b[k * stride.b + column];
            out[r * stride.out + column] = sum;
        }
}

// As many rows of `linear` at once as there are left, `Rows` at most.
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

// to (columns x rows) = from (rows x columns) turned over.
template <class T>
inline void transpose(index rows, index columns, const T* __restrict from, index stride, T* __restrict to) {
    for (index column = 0; column < columns; ++column)
        for (index row = 0; row < rows; ++row) to[column * rows + row] = from[row * stride + column];
}

// The sum over n of x[n] y[n].
template <class T>
inline T dot(index n, const T* __restrict x, const T* __restrict y) {
    T sum = 0;
#pragma omp simd reduction(+ : sum)
    for (index i = 0; i < n; ++i) sum += x[i] * y[i];
    return sum;
}

// out[r] = the sum over n of x[n] rows[r][n], four rows at a time: their additions need not wait for each other.
template <class T>
inline void dots(index count, index n, const T* __restrict x, const T* __restrict rows, T* __restrict out) {
    index r = 0;
    for (; r + 4 <= count; r += 4) {
        const T *y0 = rows + r * n, *y1 = y0 + n, *y2 = y1 + n, *y3 = y2 + n;
        T s0 = 0, s1 = 0, s2 = 0, s3 = 0;
#pragma omp simd reduction(+ : s0, s1, s2, s3)
        for (index i = 0; i < n; ++i) {
            s0 += x[i] * y0[i];
            s1 += x[i] * y1[i];
            s2 += x[i] * y2[i];
            s3 += x[i] * y3[i];
        }
        out[r] = s0;
        out[r + 1] = s1;
        out[r + 2] = s2;
        out[r + 3] = s3;
    }
    for (; r < count; ++r) out[r] = dot(n, x, rows + r * n);
}

}  // namespace
}  // namespace ntm
