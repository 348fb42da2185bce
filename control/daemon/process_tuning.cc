// SPDX-License-Identifier: Apache-2.0
#include "control/daemon/process_tuning.h"

#include <sched.h>
#include <spdlog/spdlog.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <string_view>

namespace godwit::control {
namespace {

constexpr int kNice = -10;
constexpr uint64_t kSliceNs = 100'000;  // the shortest that Linux takes

// Sets a better nice level and a time slice so short that the scheduler prefers a thread that wakes
// up (sched_setattr(2)). EEVDF in Linux 6.12 and later uses the slice; older kernels ignore it.
bool set_nice_and_slice() {
  struct {
    uint32_t size, policy;
    uint64_t flags;
    int32_t nice;
    uint32_t priority;
    uint64_t runtime_ns, deadline_ns, period_ns;
  } attributes{};
  attributes.size = sizeof attributes;
  attributes.policy = SCHED_OTHER;
  attributes.nice = kNice;
  attributes.runtime_ns = kSliceNs;
  return syscall(SYS_sched_setattr, 0, &attributes, 0) == 0;
}

// Disables transparent huge pages (prctl(2), PR_SET_THP_DISABLE), unless the operator asks malloc
// for them with GLIBC_TUNABLES. khugepaged works at nice 19 under the lock of our memory map. Where
// threads of nice -10 take the CPUs, every thread that maps memory or touches a new page waits for
// it, for seconds at worst. The thread that talks to front-ends is one of them.
void disable_huge_pages() {
  const char* tunables = std::getenv("GLIBC_TUNABLES");
  if (tunables != nullptr &&
      std::string_view(tunables).find("glibc.malloc.hugetlb") != std::string_view::npos)
    return;
  if (prctl(PR_SET_THP_DISABLE, 1UL, 0UL, 0UL, 0UL) != 0)
    spdlog::warn("cannot disable transparent huge pages: {}", std::strerror(errno));
}

}  // namespace

void tune_process() {
  disable_huge_pages();
  if (!set_nice_and_slice())
    spdlog::warn("cannot set nice {} and a short time slice: waking up may take longer", kNice);
}

}  // namespace godwit::control
