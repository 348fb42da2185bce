// SPDX-License-Identifier: Apache-2.0
//
// Measures what sleeping and waking cost on this machine without a switch: the floor of
// `scripts/bench idle`. kUsage says how.
//
// The exit code is 1 if the system refuses a call, and 2 for wrong usage.
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <thread>
#include <vector>

namespace {

constexpr const char* kUsage =
    R"(usage: wake_floor CPU SLEEP_US SECONDS

Runs a thread on CPU that only sleeps SLEEP_US, again and again, and measures its CPU time. Then the
thread sleeps until another thread signals a descriptor, 100 times a second. The wake-up lasts from
before the signal until the thread runs. Prints JSON:
{"sleeps_per_s", "core_percent", "us_a_sleep", "wake_us": {"p50", "p99", "max"}}
)";
constexpr int kWakesPerSecond = 100;

uint64_t now_ns(clockid_t clock) {
  timespec now{};
  clock_gettime(clock, &now);
  return static_cast<uint64_t>(now.tv_sec) * 1'000'000'000u + static_cast<uint64_t>(now.tv_nsec);
}

void pin(unsigned cpu) {
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(cpu, &set);
  pthread_setaffinity_np(pthread_self(), sizeof set, &set);
}

struct Naps {
  uint64_t count = 0, cpu_ns = 0, took_ns = 0;
};

Naps nap(unsigned sleep_us, double seconds) {
  Naps naps;
  const timespec limit{sleep_us / 1'000'000, static_cast<long>(sleep_us % 1'000'000) * 1000};
  const uint64_t began = now_ns(CLOCK_MONOTONIC), cpu = now_ns(CLOCK_THREAD_CPUTIME_ID);
  const uint64_t end = began + static_cast<uint64_t>(seconds * 1e9);
  while (now_ns(CLOCK_MONOTONIC) < end) {
    ppoll(nullptr, 0, &limit, nullptr);
    ++naps.count;
  }
  naps.cpu_ns = now_ns(CLOCK_THREAD_CPUTIME_ID) - cpu;
  naps.took_ns = now_ns(CLOCK_MONOTONIC) - began;
  return naps;
}

// Waits for signals and returns the delays of wake-ups in us. A signal at time 0 ends it.
std::vector<double> wake_ups(int event, const std::atomic<uint64_t>& signalled_ns) {
  std::vector<double> us;
  for (;;) {
    pollfd one{event, POLLIN, 0};
    if (poll(&one, 1, -1) != 1) return us;
    const uint64_t now = now_ns(CLOCK_MONOTONIC);
    uint64_t count = 0;
    if (read(event, &count, sizeof count) != sizeof count) return us;
    const uint64_t began = signalled_ns.load();
    if (began == 0) return us;
    us.push_back(static_cast<double>(now - began) / 1000);
  }
}

double percentile(const std::vector<double>& sorted, double part) {
  return sorted[std::min(sorted.size() - 1,
                         static_cast<size_t>(part * static_cast<double>(sorted.size())))];
}

}  // namespace

int main(int argc, char** argv) {
  const long cpu = argc == 4 ? std::atol(argv[1]) : -1,
             sleep_us = argc == 4 ? std::atol(argv[2]) : 0;
  const double seconds = argc == 4 ? std::atof(argv[3]) : 0;
  if (cpu < 0 || cpu >= CPU_SETSIZE || sleep_us < 1 || seconds < 0.1)
    return std::fputs(kUsage, stderr), 2;
  Naps naps;
  std::vector<double> woken;
  std::atomic<uint64_t> signalled_ns{1};
  const int event = eventfd(0, EFD_CLOEXEC);
  if (event < 0) return std::perror("eventfd"), 1;
  std::atomic<bool> ready{false};
  std::thread sleeper([&] {
    pin(static_cast<unsigned>(cpu));
    naps = nap(static_cast<unsigned>(sleep_us), seconds);
    ready.store(true);
    woken = wake_ups(event, signalled_ns);
  });
  while (!ready.load()) std::this_thread::sleep_for(std::chrono::milliseconds(10));
  bool good = true;
  const auto signal = [&](uint64_t at) {
    const uint64_t one = 1;
    signalled_ns.store(at);
    good = good && write(event, &one, sizeof one) == sizeof one;
  };
  for (int i = 0; i < std::max(10, static_cast<int>(seconds * kWakesPerSecond)); ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(1000 / kWakesPerSecond));
    signal(now_ns(CLOCK_MONOTONIC));
  }
  std::this_thread::sleep_for(std::chrono::milliseconds(1000 / kWakesPerSecond));
  signal(0);
  sleeper.join();
  close(event);
  if (!good || woken.empty() || naps.count == 0)
    return std::fputs("wake_floor: the thread did not wake up\n", stderr), 1;
  std::ranges::sort(woken);
  std::printf(
      "{\"sleeps_per_s\": %.0f, \"core_percent\": %.2f, \"us_a_sleep\": %.2f, \"wake_us\": "
      "{\"p50\": %.1f, \"p99\": %.1f, \"max\": %.1f}}\n",
      static_cast<double>(naps.count) * 1e9 / static_cast<double>(naps.took_ns),
      100 * static_cast<double>(naps.cpu_ns) / static_cast<double>(naps.took_ns),
      static_cast<double>(naps.cpu_ns) / 1000 / static_cast<double>(naps.count),
      percentile(woken, 0.5), percentile(woken, 0.99), woken.back());
  return 0;
}
