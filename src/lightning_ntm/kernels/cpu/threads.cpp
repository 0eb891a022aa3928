#include "threads.hpp"

#include <algorithm>
#include <atomic>
#include <exception>
#include <memory>
#include <new>
#include <system_error>
#include <thread>
#include <vector>

#include "compilers.hpp"

namespace ntm {
namespace {

// GOMP_parallel and omp_get_thread_num of the OpenMP library that PyTorch has loaded, if it was found. Its threads
// persist between calls, each on its own core. A thread created for one call often waits for the core of its creator.
using Team = void (*)(void (*work)(void*), void* data, unsigned threads, unsigned flags);
using Number = int (*)();
std::atomic<Team> team{nullptr};
std::atomic<Number> number_in_team{nullptr};

struct Shared {
    const std::function<void(std::int64_t)>& work;
    const std::int64_t tasks, threads;
    const std::unique_ptr<std::atomic<bool>[]> taken;
    std::atomic<bool> failed{false};

    // A thread begins with the tasks that it had in earlier calls, whose memory is in its cache, and then takes tasks
    // that other threads have not begun. No exception may leave it: outside the calling thread none could be caught.
    void take(std::int64_t thread) {
        try {
            for (std::int64_t turn = 0; turn < threads; ++turn)
                for (std::int64_t task = (thread + turn) % threads; task < tasks; task += threads)
                    if (!taken[task].exchange(true)) work(task);
        } catch (const std::exception&) {
            failed = true;
        }
    }
};

// Uses new threads. If the system creates no more threads, the existing ones do the work.
void take_in_new_threads(Shared& shared) {
    std::vector<std::thread> others;
    others.reserve(shared.threads);
    try {
        for (std::int64_t thread = 1; thread < shared.threads; ++thread)
            others.emplace_back(&Shared::take, &shared, thread);
    } catch (const std::system_error&) {
    }
    shared.take(0);
    for (std::thread& other : others) other.join();
}

void take_in_team(void* data) { static_cast<Shared*>(data)->take(number_in_team.load()()); }

}  // namespace

void share_out(std::int64_t tasks, std::int64_t threads, const std::function<void(std::int64_t)>& work) {
    threads = std::min(threads, tasks);
    Shared shared{work, tasks, threads, std::make_unique<std::atomic<bool>[]>(tasks)};
    const Team together = team;
    if (threads <= 1)
        shared.take(0);
    else if (together)
        together(take_in_team, &shared, unsigned(threads), 0);
    else
        take_in_new_threads(shared);
    if (shared.failed) throw std::bad_alloc();  // the only failure that can occur
}

}  // namespace ntm

extern "C" NTM_EXPORT void ntm_use_team(void* team, void* number_in_team) {
    ntm::number_in_team = reinterpret_cast<ntm::Number>(number_in_team);
    ntm::team = reinterpret_cast<ntm::Team>(team);
}
