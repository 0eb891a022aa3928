// The hash of this library's sources, as hatch_build.py and library.py compute it.
#include "compilers.hpp"

extern "C" NTM_EXPORT const char* ntm_sources() { return NTM_SOURCES; }
