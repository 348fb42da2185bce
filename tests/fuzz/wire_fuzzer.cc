// SPDX-License-Identifier: Apache-2.0
//
// libFuzzer target: reads any bytes as the stream of a peer, from its hello on, in pieces of any
// size. Messages that pass the checks are converted to our types, and these back to messages.
//
// The first byte of the input selects the size of pieces. As in a session, messages must be short
// until a valid hello has arrived.
#include <algorithm>
#include <cstdint>
#include <cstdlib>

#include "migration/link/codec.h"
#include "migration/link/message_reader.h"

namespace {

using namespace godwit;
using namespace godwit::migration;

void require(bool condition) {
  if (!condition) std::abort();
}

void understand(const wire::Envelope& message) {
  require(message.vm().size() <= kMaxNameBytes && message.move().size() <= kMaxMoveIdBytes);
  if (message.has_offer()) {
    if (auto document = from_wire(message.vm(), message.offer())) {
      wire::Offer again;
      to_wire(*document, again);
      const auto back = from_wire(message.vm(), again);
      require(back.has_value() && back->digest == document->digest &&
              back->rules.size() == document->rules.size());
    }
  }
  if (message.has_redirect()) {
    require(static_cast<size_t>(message.redirect().frames_size()) <= kMaxRedirectFrames);
    for (const wire::Frame& frame : message.redirect().frames()) {
      const auto taken = from_wire(frame);
      if (!taken) continue;
      require(taken->bytes.size() == frame.data().size());
      const bool partial = (taken->flags & dataplane::Packet::kPartialChecksum) != 0;
      require(!partial || static_cast<size_t>(taken->csum_start) + taken->csum_offset + 2 <=
                              taken->bytes.size());
    }
  }
  // An accepted message can be sent again.
  const std::string bytes = frame_message(message);
  const auto* data = reinterpret_cast<const uint8_t*>(bytes.data());
  require(parse_message({data + kLengthBytes, bytes.size() - kLengthBytes}).has_value());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const size_t piece = data[0] == 0 ? size : data[0];
  bool greeted = (data[0] & 1) != 0;
  MessageReader reader(greeted ? kMaxMessageBytes : kMaxHelloBytes);
  for (size_t at = 1; at < size;) {
    const auto room = reader.room();
    require(!room.empty() && (greeted || room.size() <= kLengthBytes + kMaxHelloBytes));
    const size_t count = std::min({piece, room.size(), size - at});
    std::copy_n(data + at, count, room.begin());
    reader.took(count);
    at += count;
    for (;;) {
      auto next = reader.next();
      if (!next) return 0;
      if (!*next) break;
      auto message = parse_message(**next);
      if (!message) return 0;
      if (!greeted) {
        if (!message->has_hello() || !agree_on_version(message->hello())) return 0;
        greeted = true;
        reader.raise_limit(kMaxMessageBytes);
      }
      understand(*message);
    }
    require(reader.capacity() <= 4 * size + (1u << 18));
  }
  return 0;
}
