// SPDX-License-Identifier: Apache-2.0
//
// Selects the code for a CPU without extensions to x86-64, for counting instructions.
#pragma once

namespace godwit::bench {

// Makes __builtin_cpu_supports() deny every feature in this program. Must be called before the
// first query.
void take_portable_path();

}  // namespace godwit::bench
