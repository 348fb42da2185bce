// SPDX-License-Identifier: Apache-2.0
//
// Messages out of a stream of bytes: a 32-bit length in network order, then so many bytes. No I/O.
//
// The buffer grows with what has come, never with what a length claims; above the limit a length is
// refused before its message has come. Until raise_limit() room() asks for no byte beyond the
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
  // Where the next bytes go, at least one of them; what next() returned is gone then.
  std::span<uint8_t> room();
  void took(size_t bytes) { end_ += bytes; }
  // The next message without its length; none: more bytes are needed.
  Result<std::optional<std::span<const uint8_t>>> next();
  [[nodiscard]] size_t waiting() const { return end_ - begin_; }
  [[nodiscard]] size_t capacity() const { return buffer_.capacity(); }

 private:
  std::vector<uint8_t> buffer_;
  size_t begin_ = 0, end_ = 0;  // of what has come and was not taken
  uint32_t most_;
};

}  // namespace godwit::migration
