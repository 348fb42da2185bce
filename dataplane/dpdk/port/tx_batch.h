// SPDX-License-Identifier: Apache-2.0
//
// The frames that a worker has gathered for one tx queue since it last sent.
//
// Thread safety: belongs to one worker.
#pragma once

#include <rte_mbuf.h>

#include <array>
#include <cstdint>

#include "dataplane/pipeline/pipeline_limits.h"

namespace godwit::dataplane {

struct TxBatch {
  uint16_t count = 0;
  // The queue took nothing the last time. The worker does not wait for it until it takes a frame.
  bool stalled = false;
  std::array<rte_mbuf*, kBurst> mbufs;
};

}  // namespace godwit::dataplane
