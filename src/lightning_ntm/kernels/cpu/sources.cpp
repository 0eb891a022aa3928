// The sources of this library, as hatch_build.py and library.py sum them up.
extern "C" const char* ntm_sources() { return NTM_SOURCES; }
