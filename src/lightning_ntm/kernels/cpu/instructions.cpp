// The compiled instruction sets that this machine supports.
#include "compilers.hpp"

#if defined(NTM_MSVC)
#include <intrin.h>
#else
#include <cpuid.h>
#endif

namespace {

struct Registers {
    unsigned a, b, c, d;
};

Registers cpuid(unsigned leaf) {
#if defined(NTM_MSVC)
    int r[4];
    __cpuidex(r, static_cast<int>(leaf), 0);
    return {unsigned(r[0]), unsigned(r[1]), unsigned(r[2]), unsigned(r[3])};
#else
    Registers r;
    __cpuid_count(leaf, 0, r.a, r.b, r.c, r.d);
    return r;
#endif
}

// The registers that the operating system saves: bits 1 and 2 are those of AVX, 5 to 7 those of AVX-512.
unsigned saved_registers() {
#if defined(NTM_MSVC)
    return unsigned(_xgetbv(0));
#else
    unsigned low, high;
    __asm__("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return low;
#endif
}

bool has(unsigned flags, unsigned wanted) { return (flags & wanted) == wanted; }

constexpr unsigned bit(int number) { return 1u << number; }

}  // namespace

extern "C" NTM_EXPORT const char* ntm_instructions() {
    constexpr unsigned fma = bit(12), osxsave = bit(27), avx = bit(28);                      // of leaf 1, c
    constexpr unsigned avx2 = bit(5), bmi2 = bit(8);                                         // of leaf 7, b
    constexpr unsigned f = bit(16), dq = bit(17), cd = bit(28), bw = bit(30), vl = bit(31);  // AVX-512, of leaf 7, b
    if (cpuid(0).a < 7 || !has(cpuid(1).c, fma | osxsave | avx)) return "base";
    const unsigned saved = saved_registers(), extended = cpuid(7).b;
    if (!has(saved, 0x06) || !has(extended, avx2 | bmi2)) return "base";
    return has(saved, 0xe6) && has(extended, f | dq | cd | bw | vl) ? "avx512" : "avx2";
}
