#include "threads.hpp"

#include <algorithm>
#include <atomic>
#include <thread>
#include <vector>

namespace ntm {
namespace {

// GOMP_parallel of the OpenMP library that PyTorch has loaded, where it could be found: its threads stay between
// calls, on cores of their own. A thread made for one call often waits until its maker's core is free.
using Team = void (*)(void (*work)(void*), void* data, unsigned threads, unsigned flags);
std::atomic<Team> team{nullptr};

struct Shared {
    const std::function<void(std::int64_t)>& work;
    const std::int64_t pieces;
    std::atomic<std::int64_t> next{0};
};

void take(void* data) {
    Shared& shared = *static_cast<Shared*>(data);
    for (std::int64_t piece; (piece = shared.next++) < shared.pieces;) shared.work(piece);
}

}  // namespace

void share_out(std::int64_t pieces, std::int64_t threads, const std::function<void(std::int64_t)>& work) {
    Shared shared{work, pieces};
    threads = std::min(threads, pieces);
    if (threads <= 1) return take(&shared);
    if (const Team together = team) return together(take, &shared, unsigned(threads), 0);
    std::vector<std::thread> others;
    for (std::int64_t thread = 1; thread < threads; ++thread) others.emplace_back(take, &shared);
    take(&shared);
    for (std::thread& other : others) other.join();
}

}  // namespace ntm

extern "C" void ntm_use_team(void* function) { ntm::team = reinterpret_cast<ntm::Team>(function); }
