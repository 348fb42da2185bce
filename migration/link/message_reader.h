// SPDX-License-Identifier: Apache-2.0
//
// Splits a stream of bytes into messages: a 32-bit length in network order, then that many bytes.
// It does no I/O.
//
// The buffer grows with the bytes that arrive, never with a claimed length. A length over the limit
// is refused before the message arrives. Until raise_limit(), room() requests no byte beyond the
// limit.
//
// Thread safety: none.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "base/result.h"
#include "migration/link/codec.h"

namespace godwit::migration {

class MessageReader {
 public:
  explicit MessageReader(uint32_t most = kMaxHelloBytes) : most_(most) {}

  void raise_limit(uint32_t most) { most_ = most; }
  // Returns where the next bytes go, at least one. It invalidates what next() returned.
  std::span<uint8_t> room();
  void took(size_t bytes) { end_ += bytes; }
  // Returns the next message without its length, or nothing if more bytes are needed. Returns an
  // error if the length is zero or over the limit.
  Result<std::optional<std::span<const uint8_t>>> next();
  [[nodiscard]] size_t waiting() const { return end_ - begin_; }
  [[nodiscard]] size_t capacity() const { return buffer_.capacity(); }

 private:
  std::vector<uint8_t> buffer_;
  size_t begin_ = 0, end_ = 0;  // the bytes that next() has not returned
  uint32_t most_;
};

}  // namespace godwit::migration
