// Elementary functions that a compiler can vectorise: no branches, no tables, no calls.
//
// Float versions are polynomials after range reduction (Cephes); double versions are those of the
// standard library. NaN inputs give NaN.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

namespace ntm {
namespace {

inline float bits_to_float(std::uint32_t bits) {
    float value;
    std::memcpy(&value, &bits, sizeof value);
    return value;
}

inline std::uint32_t float_to_bits(float value) {
    std::uint32_t bits;
    std::memcpy(&bits, &value, sizeof bits);
    return bits;
}

inline float exp(float x) {
    // Beyond these the result is 0 or infinite; the scaling in two halves reaches both, and denormals.
    float bounded = x > 89.0f ? 89.0f : x;
    bounded = bounded < -104.0f ? -104.0f : bounded;
    const float rounded = bounded * 1.44269504088896341f + 12582912.0f;
    const float power = rounded - 12582912.0f;
    const float r = (bounded - power * 0.693359375f) - power * -2.12194440e-4f;
    float p = 1.9875691500e-4f;
    p = p * r + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = p * r * r + r + 1.0f;
    // Unsigned, so that the conversion of NaN is defined behaviour.
    const std::uint32_t whole = float_to_bits(rounded) - float_to_bits(12582912.0f);
    const std::uint32_t half = static_cast<std::uint32_t>(static_cast<std::int32_t>(whole) >> 1);
    return p * bits_to_float((half + 127u) << 23) * bits_to_float((whole - half + 127u) << 23);
}

// For positive normal numbers, infinity and NaN.
inline float log(float x) {
    // The mantissa in [sqrt(1/2), sqrt(2)).
    const std::uint32_t shifted = float_to_bits(x) - 0x3f3504f3u;
    const std::int32_t exponent = static_cast<std::int32_t>(shifted) >> 23;
    const float m = bits_to_float((shifted & 0x007fffffu) + 0x3f3504f3u) - 1.0f;
    float p = 7.0376836292e-2f;
    p = p * m - 1.1514610310e-1f;
    p = p * m + 1.1676998740e-1f;
    p = p * m - 1.2420140846e-1f;
    p = p * m + 1.4249322787e-1f;
    p = p * m - 1.6668057665e-1f;
    p = p * m + 2.0000714765e-1f;
    p = p * m - 2.4999993993e-1f;
    p = p * m + 3.3333331174e-1f;
    const float z = m * m;
    const float e = static_cast<float>(exponent);
    const float tail = m * z * p + e * -2.12194440e-4f - 0.5f * z;
    const float result = m + tail + e * 0.693359375f;
    return x < INFINITY ? result : x;
}

inline float tanh(float x) {
    const float size = std::fabs(x);
    const float z = x * x;
    float p = -5.70498872745e-3f;
    p = p * z + 2.06390887954e-2f;
    p = p * z - 5.37397155531e-2f;
    p = p * z + 1.33314422036e-1f;
    p = p * z - 3.33332819422e-1f;
    const float near_zero = p * z * x + x;
    const float beyond = std::copysign(1.0f - 2.0f / (exp(2.0f * size) + 1.0f), x);
    return size < 0.625f ? near_zero : beyond;
}

inline double exp(double x) { return std::exp(x); }
inline double log(double x) { return std::log(x); }
inline double tanh(double x) { return std::tanh(x); }

template <class T>
inline T sigmoid(T x) {
    return T(1) / (T(1) + exp(-x));
}

template <class T>
inline T softplus(T x) {
    return (x > T(0) ? x : T(0)) + std::log1p(std::exp(-std::fabs(x)));
}

}  // namespace
}  // namespace ntm
