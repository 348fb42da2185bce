// SPDX-License-Identifier: Apache-2.0
#include "tests/tools/vhost_frontend/tool/replies.h"

#include "tests/tools/vhost_frontend/tool/command_words.h"

namespace godwit::vhost_frontend {

nlohmann::json describe_device(const Device& device) {
  const VhostFrontend& frontend = *device.frontend;
  const GuestSide& side = *device.side;
  const GuestNic* guest = frontend.guest();
  nlohmann::json about = {
      {"name", device.name},
      {"state", state_name(frontend.state())},
      {"error", frontend.error()},
      {"offered_features", frontend.offered_features()},
      {"protocol_features", frontend.protocol_features()},
      {"backend_requests", frontend.backend_requests()},
      {"kicks", frontend.kicks()},
      {"calls", frontend.calls()},
      {"guest", guest != nullptr},
      {"paused", frontend.paused()},
      {"logging", frontend.logging()},
      {"rx_frames", side.rx_frames},
      {"rx_bytes", side.rx_bytes},
      {"tx_frames", side.tx_frames},
      {"tx_bytes", side.tx_bytes},
      {"captured", side.captured.size()},
      {"capture_overflow", side.capture_overflow},
      {"arp_replies", side.arp_replies},
      {"first_rx_ns", side.first_rx_ns},
      {"pages_missed", device.copied.pages_missed},
  };
  if (guest != nullptr) {
    about["features"] = guest->features();
    about["broken"] = guest->broken();
    about["tx_in_flight"] = guest->initialised() ? guest->transmit_in_flight() : 0;
    about["memory_bytes"] = guest->memory().bytes();
  }
  return about;
}

nlohmann::json describe_frame(const CapturedFrame& frame) {
  return {
      {"hex", to_hex(frame.bytes)},
      {"queue", frame.queue_pair},
      {"time_ns", frame.time_ns},
      {"flags", frame.header.flags},
      {"gso_type", frame.header.gso_type},
      {"gso_size", frame.header.gso_size},
      {"header_length", frame.header.header_length},
      {"csum_start", frame.header.csum_start},
      {"csum_offset", frame.header.csum_offset},
      {"buffers", frame.header.num_buffers},
  };
}

nlohmann::json describe_account(const StreamAccount& account) {
  nlohmann::json missing = nlohmann::json::array();
  for (const auto& [from, to] : account.missing(8)) {
    missing.push_back({from, to});
  }
  return {
      {"received", account.received},
      {"lost", account.lost()},
      {"duplicates", account.duplicates},
      {"out_of_order", account.out_of_order},
      {"corrupt", account.corrupt},
      {"beyond", account.beyond},
      {"before_reset", account.before_start},
      {"highest", account.any() ? nlohmann::json(account.highest) : nlohmann::json()},
      {"missing", missing},
      {"first_ns", account.first_ns},
      {"last_ns", account.last_ns},
      {"longest_gap_ns", account.longest_gap_ns},
      {"longest_gap_before", account.longest_gap_before},
      {"longest_gap_end_ns", account.longest_gap_end_ns},
      {"max_latency_ns", account.max_latency_ns},
      {"mean_latency_ns",
       account.received == 0 ? 0 : account.sum_latency_ns / static_cast<int64_t>(account.received)},
  };
}

nlohmann::json describe_stream(const Stream& stream) {
  return {{"id", stream.id},
          {"from", stream.from},
          {"sent", stream.sent},
          {"count", stream.count},
          {"pps", stream.pps},
          {"done", stream.done},
          {"ring_full", stream.ring_full}};
}

}  // namespace godwit::vhost_frontend
