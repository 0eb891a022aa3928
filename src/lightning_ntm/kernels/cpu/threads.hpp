// Work for several threads.
#pragma once

#include <cstdint>
#include <functional>

namespace ntm {

// Calls work(0) to work(pieces - 1), in any order, each once, on at most `threads` threads. Throws
// std::bad_alloc when one of them fails.
void share_out(std::int64_t pieces, std::int64_t threads, const std::function<void(std::int64_t)>& work);

}  // namespace ntm
