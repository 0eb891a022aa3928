// Work shared by several threads.
#pragma once

#include <cstdint>
#include <functional>

namespace ntm {

// Calls work(0) to work(tasks - 1), each once and in any order, on at most `threads` threads. Throws
// std::bad_alloc if one of them fails.
void share_out(std::int64_t tasks, std::int64_t threads, const std::function<void(std::int64_t)>& work);

}  // namespace ntm
