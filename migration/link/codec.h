// SPDX-License-Identifier: Apache-2.0
//
// The peers' messages: framing, limits, and the way between protobuf and our own types (wire.proto
// has the messages and their sequence). Bytes from a peer are never believed: lengths before
// allocation, counts, names and addresses are checked here, so that nothing behind this file sees a
// message that breaks a limit.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "dataplane/packet_gate.h"
#include "migration/policy/document.h"
#include "wire.pb.h"

namespace godwit::migration {

inline constexpr uint32_t kMagic = 0x47445754;  // "GDWT"
// Versions spoken: this one and the one before. 2 has ping and pong, which nobody sends to a peer
// that speaks 1.
inline constexpr uint32_t kVersionLow = 1;
inline constexpr uint32_t kVersionHigh = 2;
inline constexpr uint32_t kVersionPing = 2;
inline constexpr size_t kLengthBytes = 4;
inline constexpr uint32_t kMaxHelloBytes = 256;  // before the peer is known
inline constexpr uint32_t kMaxMessageBytes = 64u << 20;
inline constexpr size_t kMaxNameBytes = 63;
inline constexpr size_t kMaxMoveIdBytes = 64;
inline constexpr size_t kMaxReasons = 128;
inline constexpr size_t kMaxRedirectFrames = 64;
inline constexpr uint64_t kTakesNoFrames =
    UINT64_MAX;  // Active::frames_held of a move that is over
inline constexpr size_t kMaxRedirectBytes = 256u << 10;

// What a message may be, by its body: looked at before it is taken apart. `fields`: entries
// directly inside of it.
struct BodyLimit {
  int number;  // in wire.proto's Envelope
  const char* name;
  size_t bytes;
  size_t fields;
};
inline constexpr size_t kMaxAnswerBytes = 1024;
inline constexpr BodyLimit kBodyLimits[] = {
    {10, "hello", kMaxHelloBytes, 16},
    {11, "offer", kMaxMessageBytes, 2 * kMaxDocumentRules + 2 * kMaxDocumentProfiles + 16},
    {12, "prepared", kMaxAnswerBytes, 16},
    {13, "refused", 1u << 20, kMaxReasons},
    {14, "delta", 2 * dataplane::kMaxRuleText, 16},
    {15, "handover", kMaxAnswerBytes, 16},
    {16, "active", kMaxAnswerBytes, 16},
    {17, "revoke", kMaxAnswerBytes, 16},
    {18, "revoked", 1u << 16, 16},
    {19, "abort", 1u << 16, 16},
    {20, "redirect", 2 * kMaxRedirectBytes, kMaxRedirectFrames + 1},
    {21, "barrier", kMaxAnswerBytes, 16},
    {22, "barrier_ack", kMaxAnswerBytes, 16},
    {23, "done", kMaxAnswerBytes, 16},
    {24, "done_ack", kMaxAnswerBytes, 16},
    {25, "pull", kMaxAnswerBytes, 16},
    {26, "pulled", kMaxAnswerBytes, 16},
    {27, "ask", kMaxAnswerBytes, 16},
    {28, "ping", kMaxAnswerBytes, 16},
    {29, "pong", kMaxAnswerBytes, 16},
};

// Length and message, ready to be sent.
[[nodiscard]] std::string frame_message(const wire::Envelope& envelope);

// The length in a frame's first four bytes, refused above `most` and at 0.
Result<uint32_t> frame_length(std::span<const uint8_t> first_four, uint32_t most);

// One message, checked against every limit.
Result<wire::Envelope> parse_message(std::span<const uint8_t> bytes);

// Hello: the version both speak, or why not.
Result<uint32_t> agree_on_version(const wire::Hello& hello);
[[nodiscard]] wire::Hello make_hello(const std::string& host);

void to_wire(const Document& document, wire::Offer& offer);
Result<Document> from_wire(const std::string& vm,
                           const wire::Offer& offer);  // the digest is checked
[[nodiscard]] wire::Rule to_wire(const DocumentRule& rule);
[[nodiscard]] DocumentRule from_wire(const wire::Rule& rule);
void to_wire(const Epoch& epoch, wire::Epoch& out);
[[nodiscard]] Epoch from_wire(const wire::Epoch& epoch);

void to_wire(const dataplane::Frame& frame, const std::string& endpoint, wire::Frame& out);
// Offload requests that point outside the frame, unknown flags and impossible lengths are refused.
Result<dataplane::Frame> from_wire(const wire::Frame& frame);

}  // namespace godwit::migration
