// SPDX-License-Identifier: Apache-2.0
//
// The working memory of an rx burst between the stages of the pipeline.
//
// Thread safety: belongs to one worker.
#pragma once

#include <array>

#include "base/ids.h"
#include "dataplane/pipeline/flow_cache.h"
#include "dataplane/pipeline/pipeline_limits.h"
#include "dataplane/pipeline/walk.h"

namespace godwit::dataplane {

struct Burst {
  // The port for packets to `endpoint`, if no packet has to be looked at once more.
  struct StraightPath {
    EndpointId endpoint;  // invalid if not computed yet
    bool open = false;
    PortId port;
    CounterId received;
  };
  StraightPath straight;
  bool uniform = false;  // the first decision holds for all packets
  std::array<Walk, kBurst> walks;
  FlowPartition partition;
  std::array<FlowCache::Probe, kBurst> probes;
  std::array<FlowDecision, kBurst> decisions;  // fate kInvalid if the flow cache has none
  std::array<const RuleEntry*, kBurst> first_rules;
  std::array<bool, kBurst> first_known;
  std::array<FlowCache::Probe, kBurst> egress_probes;
  EndpointId egress_of;  // the endpoint of `egress_partition`; invalid if not computed yet
  FlowPartition egress_partition;
};

}  // namespace godwit::dataplane
