// SPDX-License-Identifier: Apache-2.0
//
// Sizes that the pipeline and the stages around it agree on.
#pragma once

#include <cstddef>

namespace godwit::dataplane {

inline constexpr size_t kBurst = 32;       // packets in an rx burst or a tx batch, at most
inline constexpr size_t kMaxPorts = 2048;  // every PortId is below this

}  // namespace godwit::dataplane
