// SPDX-License-Identifier: Apache-2.0
#include "migration/link/message_reader.h"

#include <algorithm>

namespace godwit::migration {

namespace {

constexpr size_t kBlockBytes = 64u << 10;
constexpr size_t kKeptBytes = 1u << 20;  // a larger buffer is freed when it is empty

}  // namespace

std::span<uint8_t> MessageReader::room() {
  if (begin_ == end_) {
    begin_ = end_ = 0;
    if (buffer_.size() > kKeptBytes) std::vector<uint8_t>().swap(buffer_);
  }
  const size_t limit = kLengthBytes + most_;  // one message
  const size_t wanted = limit < kBlockBytes ? limit - std::min(limit - 1, waiting())
                                            : std::max(kBlockBytes, waiting() / 2);
  if (buffer_.size() - end_ < wanted && begin_ > 0) {
    std::copy(buffer_.begin() + static_cast<std::ptrdiff_t>(begin_),
              buffer_.begin() + static_cast<std::ptrdiff_t>(end_), buffer_.begin());
    end_ -= begin_;
    begin_ = 0;
  }
  if (buffer_.size() - end_ < wanted) buffer_.resize(end_ + wanted);
  return std::span(buffer_).subspan(end_, limit < kBlockBytes ? wanted : buffer_.size() - end_);
}

Result<std::optional<std::span<const uint8_t>>> MessageReader::next() {
  const std::span<const uint8_t> there =
      std::span<const uint8_t>(buffer_).subspan(begin_, waiting());
  if (there.size() < kLengthBytes) return std::optional<std::span<const uint8_t>>();
  const auto length = frame_length(there.first(kLengthBytes), most_);
  if (!length) return fail(length.error());
  if (there.size() < kLengthBytes + *length) return std::optional<std::span<const uint8_t>>();
  begin_ += kLengthBytes + *length;
  return std::optional(there.subspan(kLengthBytes, *length));
}

}  // namespace godwit::migration
