// SPDX-License-Identifier: Apache-2.0
//
// In a file of its own: a compiler that meets both this declaration and __builtin_cpu_supports()
// has two of them.
#include "tests/bench/portable_path.h"

#if defined(__x86_64__)
// What __builtin_cpu_supports() reads: libgcc's cpuinfo.h, and compiler-rt's cpu_model.c, the same
// layout.
extern "C" {
struct GodwitCpuModel {
  unsigned vendor;
  unsigned type;
  unsigned subtype;
  unsigned features[1];
};
extern GodwitCpuModel __cpu_model;
extern unsigned __cpu_features2[1];
}

namespace godwit::bench {
void take_portable_path() {
  __cpu_model.features[0] = 0;
  __cpu_features2[0] = 0;
}
}  // namespace godwit::bench
#else
namespace godwit::bench {
void take_portable_path() {}
}  // namespace godwit::bench
#endif
