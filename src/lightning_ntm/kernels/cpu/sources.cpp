// The sources of this library, as hatch_build.py and library.py sum them up.
#include "compilers.hpp"

extern "C" NTM_EXPORT const char* ntm_sources() { return NTM_SOURCES; }
