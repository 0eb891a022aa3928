// Features that have other names in MSVC than in GCC and Clang.
#pragma once

#if defined(_MSC_VER) && !defined(__clang__)
#define NTM_MSVC 1
#endif

// Marks exported functions: on Windows a library exports no others.
#if defined(_WIN32)
#define NTM_EXPORT __declspec(dllexport)
#else
#define NTM_EXPORT
#endif

#if defined(__SSE2__) || defined(_M_X64)
#define NTM_SSE 1
#include <xmmintrin.h>
#endif

namespace ntm {
namespace {

// Prefetches a cache line, for writing if `Written`.
template <int Written>
inline void prefetch(const void* address) {
#if !defined(NTM_MSVC)
    __builtin_prefetch(address, Written, 2);
#elif defined(NTM_SSE)
    _mm_prefetch(static_cast<const char*>(address), _MM_HINT_T1);
#else
    (void)address;
#endif
}

#if !defined(NTM_MSVC) && !defined(NTM_PLAIN_LANES)

// `Bytes` of numbers, with operators element by element; a scalar operand is broadcast.
template <class T, int Bytes>
struct LanesOf {
    typedef T type __attribute__((vector_size(Bytes)));
};

#else

template <class T, int Bytes>
struct Lanes {
    static constexpr int count = Bytes / sizeof(T);
    T values[count];

    static Lanes all(T value) {
        Lanes lanes;
        for (int i = 0; i < count; ++i) lanes.values[i] = value;
        return lanes;
    }
};

#define NTM_LANES_OPERATOR(op)                                                       \
    template <class T, int Bytes>                                                    \
    inline Lanes<T, Bytes>& operator op##=(Lanes<T, Bytes>& a, Lanes<T, Bytes> b) {  \
        for (int i = 0; i < a.count; ++i) a.values[i] op##= b.values[i];             \
        return a;                                                                    \
    }                                                                                \
    template <class T, int Bytes>                                                    \
    inline Lanes<T, Bytes> operator op(Lanes<T, Bytes> a, Lanes<T, Bytes> b) {       \
        return a op##= b;                                                            \
    }                                                                                \
    template <class T, int Bytes>                                                    \
    inline Lanes<T, Bytes> operator op(Lanes<T, Bytes> a, T b) {                     \
        return a op##= Lanes<T, Bytes>::all(b);                                      \
    }                                                                                \
    template <class T, int Bytes>                                                    \
    inline Lanes<T, Bytes> operator op(T a, Lanes<T, Bytes> b) {                     \
        return Lanes<T, Bytes>::all(a) op b;                                         \
    }
NTM_LANES_OPERATOR(+)
NTM_LANES_OPERATOR(-)
NTM_LANES_OPERATOR(*)
#undef NTM_LANES_OPERATOR

template <class T, int Bytes>
struct LanesOf {
    typedef Lanes<T, Bytes> type;
};

#endif

}  // namespace
}  // namespace ntm
