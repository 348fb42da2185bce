// SPDX-License-Identifier: Apache-2.0
//
// Runs the pipeline on fixed input (pipeline_load.h). Under callgrind each run executes the same
// instructions; alone the program prints cycles per packet. Each part is a function, which
// callgrind counts by its name, such as --toggle-collect=fixed_one_rule. A part runs kBursts
// bursts. It includes parsing, the flow cache, actions and counters, and excludes building frames.
// --portable selects the code for a CPU without extensions. instruction_counts.txt keeps the
// counts, and scripts/test compares them with a run.
//
//   fixed_one_rule   one rule that matches all packets and forwards them
//   fixed_flows      100 rules on addresses and ports, 256 flows, all in the flow cache
//   fixed_egress     as fixed_flows, and the receiver has egress rules on ports
//   fixed_normal     no rules: pinned addresses and the FDB
//   fixed_misses     as fixed_flows, but each packet is a flow of its own
//
// The exit code is 1 if packets were not forwarded as they must, so that the counts are void.
#include <cstdio>
#include <cstring>

#include "base/clock.h"
#include "tests/bench/pipeline_load.h"
#include "tests/bench/portable_path.h"

namespace {

using namespace godwit;
using bench::WorkerLoad;

constexpr size_t kBursts = 2000;

}  // namespace

extern "C" {
[[gnu::noinline]] void fixed_one_rule(WorkerLoad& load) { load.run(kBursts, false); }
[[gnu::noinline]] void fixed_flows(WorkerLoad& load) { load.run(kBursts, false); }
[[gnu::noinline]] void fixed_egress(WorkerLoad& load) { load.run(kBursts, false); }
[[gnu::noinline]] void fixed_normal(WorkerLoad& load) { load.run(kBursts, false); }
[[gnu::noinline]] void fixed_misses(WorkerLoad& load) { load.run(kBursts, true); }
}

int main(int argc, char** argv) {
  if (argc == 2 && std::strcmp(argv[1], "--portable") == 0) bench::take_portable_path();
  struct Part {
    const char* name;
    void (*run)(WorkerLoad&);
    bool flows;
    bool egress;
    bool one;
    uint64_t most_misses;
  };
  constexpr Part kParts[] = {
      {"fixed_one_rule", fixed_one_rule, false, false, true, 1},
      {"fixed_flows", fixed_flows, true, false, false, bench::kFrames},
      {"fixed_egress", fixed_egress, true, true, false, bench::kFrames + 100},
      {"fixed_normal", fixed_normal, false, false, false, 1},
      {"fixed_misses", fixed_misses, true, false, false, ~uint64_t{0}}};
  bool good = true;
  for (const Part& part : kParts) {
    bench::SharedSwitch shared(1);
    if (part.one) shared.catch_all_rule();
    if (part.flows) shared.flow_rules();
    if (part.egress) shared.egress_rules();
    WorkerLoad load(shared, WorkerId{0});
    const uint64_t began = cycles_now();
    part.run(load);
    const uint64_t cycles = cycles_now() - began;
    const bool right = load.all_sent(kBursts) && load.misses() <= part.most_misses;
    std::printf("%-16s %6.1f cycles/packet%s\n", part.name,
                static_cast<double>(cycles) / (kBursts * dataplane::kBurst),
                right ? "" : "  WRONG");
    good = good && right;
  }
  return good ? 0 : 1;
}
