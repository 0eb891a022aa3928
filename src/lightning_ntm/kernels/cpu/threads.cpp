#include "threads.hpp"

#include <algorithm>
#include <atomic>
#include <memory>
#include <thread>
#include <vector>

namespace ntm {
namespace {

// GOMP_parallel and omp_get_thread_num of the OpenMP library that PyTorch has loaded, where it could be found: its
// threads stay between calls, on cores of their own. A thread made for one call often waits until its maker's core is
// free.
using Team = void (*)(void (*work)(void*), void* data, unsigned threads, unsigned flags);
using Number = int (*)();
std::atomic<Team> team{nullptr};
std::atomic<Number> number_in_team{nullptr};

struct Shared {
    const std::function<void(std::int64_t)>& work;
    const std::int64_t pieces, threads;
    const std::unique_ptr<std::atomic<bool>[]> taken;

    // A thread begins with the pieces that it had in the calls before, whose memory is in its cache; then it takes what
    // is left of the others'.
    void take(std::int64_t thread) {
        for (std::int64_t turn = 0; turn < threads; ++turn)
            for (std::int64_t piece = (thread + turn) % threads; piece < pieces; piece += threads)
                if (!taken[piece].exchange(true)) work(piece);
    }
};

void take_in_team(void* data) { static_cast<Shared*>(data)->take(number_in_team.load()()); }

}  // namespace

void share_out(std::int64_t pieces, std::int64_t threads, const std::function<void(std::int64_t)>& work) {
    threads = std::min(threads, pieces);
    Shared shared{work, pieces, threads, std::make_unique<std::atomic<bool>[]>(pieces)};
    if (threads <= 1) return shared.take(0);
    if (const Team together = team) return together(take_in_team, &shared, unsigned(threads), 0);
    std::vector<std::thread> others;
    for (std::int64_t thread = 1; thread < threads; ++thread) others.emplace_back(&Shared::take, &shared, thread);
    shared.take(0);
    for (std::thread& other : others) other.join();
}

}  // namespace ntm

extern "C" void ntm_use_team(void* team, void* number_in_team) {
    ntm::number_in_team = reinterpret_cast<ntm::Number>(number_in_team);
    ntm::team = reinterpret_cast<ntm::Team>(team);
}
