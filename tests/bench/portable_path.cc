// SPDX-License-Identifier: Apache-2.0
//
// This is a file of its own because a compiler that sees __builtin_cpu_supports() declares
// __cpu_model itself.
#include "tests/bench/portable_path.h"

#if defined(__x86_64__)
// __builtin_cpu_supports() reads these. libgcc's cpuinfo.h and compiler-rt's cpu_model.c have the
// same layout.
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
