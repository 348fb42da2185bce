// SPDX-License-Identifier: Apache-2.0
//
// For counting instructions: what the code does on a CPU that has nothing beyond the x86-64
// baseline.
#pragma once

namespace godwit::bench {

// Makes __builtin_cpu_supports() deny every feature from here on, in this program. To be called
// before anything asks.
void take_portable_path();

}  // namespace godwit::bench
