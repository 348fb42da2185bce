// SPDX-License-Identifier: Apache-2.0
//
// The peers' messages: framing, limits, and the conversion between protobuf and Godwit's types.
// wire.proto has the messages and their sequence. Bytes from a peer are not trusted. This file
// checks lengths before it allocates, then counts, names and addresses, so that its callers never
// see a message that breaks a limit.
//
// Thread safety: none needed; the functions share no state.
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
// The versions of the protocol that this switch speaks. Version 2 adds ping and pong, which are not
// sent to a peer of version 1. Version 3 adds unknown and resend, and offers that are sent again.
inline constexpr uint32_t kVersionLow = 1;
inline constexpr uint32_t kVersionHigh = 3;
inline constexpr uint32_t kVersionPing = 2;
inline constexpr uint32_t kVersionResume = 3;
inline constexpr size_t kLengthBytes = 4;
inline constexpr uint32_t kMaxHelloBytes = 256;  // limit before the peer is known
inline constexpr uint32_t kMaxMessageBytes = 64u << 20;
inline constexpr uint32_t kMaxReplyBytes = 2u << 20;       // where this host opened the session
inline constexpr uint32_t kMaxUnlistedBytes = 256u << 10;  // of a peer that may not offer VMs
inline constexpr size_t kMaxNameBytes = 63;
inline constexpr size_t kMaxMoveIdBytes = 64;
inline constexpr size_t kMaxReasons = 128;
inline constexpr size_t kMaxRedirectFrames = 64;
// Active::frames_held of a move that is over: it takes no more redirected frames.
inline constexpr uint64_t kTakesNoFrames = UINT64_MAX;
inline constexpr size_t kMaxRedirectBytes = 256u << 10;

// The limits of a message with this body. They are checked before the message is parsed.
struct BodyLimit {
  int number;  // of the field in wire.proto's Envelope
  const char* name;
  size_t bytes;
  size_t fields;  // entries directly inside of the body
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

// The limits of the entries of one repeated field inside of a body. They are checked with those of
// the body.
struct EntryLimit {
  int body, field;  // numbers in wire.proto
  const char* name;
  size_t count;  // in one message
  size_t least_bytes, most_bytes;
  size_t fields;  // directly inside of an entry; zero for a text
};
inline constexpr size_t kMaxReasonBytes = 1024;  // a longer reason is cut
inline constexpr size_t kMaxDigestBytes = 64;
inline constexpr size_t kMaxProfileAddresses = 1024;
inline constexpr size_t kMaxProfileVlans = 4095;
inline constexpr size_t kLeastRuleBytes = 16;  // of an owner and a text, so that memory is bounded
inline constexpr EntryLimit kEntryLimits[] = {
    {11, 3, "profile", kMaxDocumentProfiles, 0, 1u << 16,
     kMaxProfileAddresses + kMaxProfileVlans + 16},
    {11, 4, "rule", kMaxDocumentRules, kLeastRuleBytes, 2 * dataplane::kMaxRuleText, 16},
    {11, 5, "uplink rule", kMaxDocumentRules, kLeastRuleBytes, 2 * dataplane::kMaxRuleText, 16},
    {11, 6, "uplink", kMaxDocumentProfiles, 1, kMaxNameBytes, 0},
};

// Returns the message with its length in front, ready to send.
[[nodiscard]] std::string frame_message(const wire::Envelope& envelope);

// Returns the length in a frame's first four bytes. Zero and lengths above `most` are errors.
Result<uint32_t> frame_length(std::span<const uint8_t> first_four, uint32_t most);

// Parses one message. Returns an error if it breaks a limit. Reasons are made printable and cut to
// kMaxReasonBytes, so that no text of a peer can forge a line of the log.
Result<wire::Envelope> parse_message(std::span<const uint8_t> bytes);

// Returns the newest version that both sides speak, or an error if there is none.
Result<uint32_t> agree_on_version(const wire::Hello& hello);
[[nodiscard]] wire::Hello make_hello(const std::string& host);

void to_wire(const Document& document, wire::Offer& offer);
// Returns an error also if the digest does not match.
Result<Document> from_wire(const std::string& vm, const wire::Offer& offer);
[[nodiscard]] wire::Rule to_wire(const DocumentRule& rule);
[[nodiscard]] DocumentRule from_wire(const wire::Rule& rule);
void to_wire(const Epoch& epoch, wire::Epoch& out);
[[nodiscard]] Epoch from_wire(const wire::Epoch& epoch);

void to_wire(const dataplane::Frame& frame, const std::string& endpoint, wire::Frame& out);
// Returns an error for checksum requests outside of the frame, unknown flags and invalid lengths.
Result<dataplane::Frame> from_wire(const wire::Frame& frame);

// Writes the reasons, one a line, as far as one message may carry them.
void reasons_to_wire(const std::string& reasons, wire::Refused& out);

}  // namespace godwit::migration
