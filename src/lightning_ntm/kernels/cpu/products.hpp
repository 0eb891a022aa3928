// The two products that everything here is made of.
#pragma once

#include <cstdint>
#include <cstring>

namespace ntm {
namespace {

using index = std::int64_t;

#if defined(__AVX512F__)
constexpr int vector_bytes = 64, columns_at_once = 4;
#elif defined(__AVX__)
constexpr int vector_bytes = 32, columns_at_once = 2;
#else
constexpr int vector_bytes = 16, columns_at_once = 2;
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

// A block of `Rows` x (`Vectors` * lanes) of `linear`. Every element adds its terms in the same order
// whatever the block, so results do not depend on how rows are shared among threads.
template <class T, int Rows, int Vectors>
inline void linear_block(index inner, index columns, const T* a, index a_stride, const T* b, T* out,
                         index out_stride, bool accumulate) {
    using V = Vector<T>;
    typename V::type sums[Rows][Vectors];
    for (int r = 0; r < Rows; ++r)
        for (int v = 0; v < Vectors; ++v)
            sums[r][v] = accumulate ? V::load(out + r * out_stride + v * V::lanes) : typename V::type{};
    for (index k = 0; k < inner; ++k) {
        typename V::type loaded[Vectors];
        for (int v = 0; v < Vectors; ++v) loaded[v] = V::load(b + k * columns + v * V::lanes);
        for (int r = 0; r < Rows; ++r) {
            const T factor = a[r * a_stride + k];
            for (int v = 0; v < Vectors; ++v) sums[r][v] += factor * loaded[v];
        }
    }
    for (int r = 0; r < Rows; ++r)
        for (int v = 0; v < Vectors; ++v) V::store(out + r * out_stride + v * V::lanes, sums[r][v]);
}

template <class T, int Rows>
inline void linear_rows(index inner, index columns, const T* a, index a_stride, const T* b, T* out,
                        index out_stride, bool accumulate) {
    constexpr int lanes = Vector<T>::lanes;
    index column = 0;
    for (; column + columns_at_once * lanes <= columns; column += columns_at_once * lanes)
        linear_block<T, Rows, columns_at_once>(inner, columns, a, a_stride, b + column, out + column, out_stride,
                                               accumulate);
    for (; column + lanes <= columns; column += lanes)
        linear_block<T, Rows, 1>(inner, columns, a, a_stride, b + column, out + column, out_stride, accumulate);
    for (; column < columns; ++column)
        for (int r = 0; r < Rows; ++r) {
            T sum = accumulate ? out[r * out_stride + column] : T(0);
            for (index k = 0; k < inner; ++k) sum += a[r * a_stride + k] * b[k * columns + column];
            out[r * out_stride + column] = sum;
        }
}

// out (rows x columns) = [out +] a (rows x inner) times b (inner x columns).
template <class T>
inline void linear(index rows, index inner, index columns, const T* a, index a_stride, const T* b, T* out,
                   index out_stride, bool accumulate) {
    index row = 0;
    for (; row + 4 <= rows; row += 4)
        linear_rows<T, 4>(inner, columns, a + row * a_stride, a_stride, b, out + row * out_stride, out_stride,
                          accumulate);
    for (; row < rows; ++row)
        linear_rows<T, 1>(inner, columns, a + row * a_stride, a_stride, b, out + row * out_stride, out_stride,
                          accumulate);
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
