// SPDX-License-Identifier: Apache-2.0
//
// A PipelineHost that records its calls and fails the test if a packet leaves twice.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "dataplane/pipeline/pipeline.h"

namespace godwit::testing {

class TestHost final : public dataplane::PipelineHost {
 public:
  struct Held {
    std::vector<uint8_t> memory;
    dataplane::Packet packet;
  };
  dataplane::Packet* make(const std::vector<uint8_t>& bytes) {
    auto held = std::make_unique<Held>();
    held->memory.resize(128 + bytes.size());
    std::copy(bytes.begin(), bytes.end(), held->memory.begin() + 128);
    held->packet.data = held->memory.data() + 128;
    held->packet.len = held->packet.head_len = static_cast<uint32_t>(bytes.size());
    held->packet.headroom = 128;
    dataplane::Packet* packet = &held->packet;
    live_[packet] = std::move(held);
    ++made;
    return packet;
  }
  dataplane::Packet* clone(const dataplane::Packet& packet) override {
    if (clones_left == 0) return nullptr;
    --clones_left;
    dataplane::Packet* copy = make({packet.data, packet.data + packet.len});
    copy->mark = packet.mark;
    return copy;
  }
  void free(std::span<dataplane::Packet* const> packets) override {
    for (dataplane::Packet* packet : packets) {
      ++freed;
      ASSERT_EQ(live_.erase(packet), 1u) << "freed twice";
    }
  }
  void transmit(std::span<const dataplane::Output> outputs) override {
    for (const dataplane::Output& output : outputs) {
      sent[output.port.value].push_back(
          {output.packet->data, output.packet->data + output.packet->len});
      ++transmitted;
      ASSERT_EQ(live_.erase(output.packet), 1u) << "sent twice";
    }
  }
  bool may_wait(const dataplane::Packet&) override { return buffers_left; }
  bool redirect(EndpointId endpoint, dataplane::Packet* packet) override {
    if (redirect_room == 0) return false;
    --redirect_room;
    redirected.push_back({endpoint, {packet->data, packet->data + packet->len}});
    live_.erase(packet);
    return true;
  }
  void punt(EndpointId, const dataplane::Packet&) override { ++punted; }

  size_t live() const { return live_.size(); }
  std::map<uint16_t, std::vector<std::vector<uint8_t>>> sent;
  std::vector<std::pair<EndpointId, std::vector<uint8_t>>> redirected;
  size_t made = 0, freed = 0, transmitted = 0, punted = 0, clones_left = 1000, redirect_room = 1000;
  bool buffers_left = true;

 private:
  std::map<dataplane::Packet*, std::unique_ptr<Held>> live_;
};

}  // namespace godwit::testing
