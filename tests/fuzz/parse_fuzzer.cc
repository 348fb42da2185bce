// SPDX-License-Identifier: Apache-2.0
//
// libFuzzer target: parses any bytes as a frame with any checksum request, and applies a chain of
// rewrites.
//
// The input: bytes of headroom (4 bits) and flags (4 bits), csum_start, csum_offset, the number of
// bytes at the end that are not readable, the number of rewrites; then opcode and value of each
// rewrite; then the frame. The buffer has the exact size, so that AddressSanitizer sees any access
// beyond it.
#include <algorithm>
#include <bit>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "dataplane/packet/checksum.h"
#include "dataplane/packet/parse.h"
#include "dataplane/pipeline/packet_rewrite.h"
#include "tests/builders/packet_builder.h"

namespace {

using namespace godwit;
using namespace godwit::dataplane;

// Takes bytes from the front of the input, and zeros after its end.
struct Input {
  const uint8_t* data;
  size_t size;
  uint8_t take() {
    if (size == 0) return 0;
    --size;
    return *data++;
  }
};

void require(bool condition) {
  if (!condition) std::abort();
}

void check(const Packet& packet, const Parsed& parsed) {
  const uint16_t layers = parsed.key.layers.host();
  require(parsed.l3_offset <= packet.head_len);
  require(parsed.l4_offset <= packet.head_len);
  require(static_cast<uint32_t>(parsed.l4_offset) + parsed.l4_length <= packet.len);
  require(std::popcount(static_cast<unsigned>(layers & (kLayerArp | kLayerIpv4 | kLayerIpv6))) <=
          1);
  require(std::popcount(static_cast<unsigned>(
              layers & (kLayerTcp | kLayerUdp | kLayerIcmp | kLayerIcmp6 | kLayerSctp))) <= 1);
  if ((packet.flags & Packet::kPartialChecksum) != 0) {
    require(static_cast<uint32_t>(packet.csum_start) + packet.csum_offset + 2 <= packet.len);
    require(packet.csum_start >= 14 + 4 * parsed.vlan_tags);
  }
  (void)flow_hash(parsed.key);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  Input input{data, size};
  const uint8_t first = input.take();
  const uint8_t csum_start = input.take();
  const uint8_t csum_offset = input.take();
  const uint8_t hidden = input.take();
  std::vector<Op> ops(input.take() % 5);
  for (Op& op : ops) {
    op.code = static_cast<OpCode>(input.take() % (static_cast<unsigned>(OpCode::kDecTtl) + 1));
    std::generate(op.value.begin(), op.value.end(), [&input] { return input.take(); });
    op.number = static_cast<uint32_t>(op.value[0] << 8 | op.value[1]);
  }

  const testing::Frame frame(input.data, input.data + input.size);
  testing::TestPacket test(frame, frame.size() - std::min<size_t>(hidden, frame.size()),
                           first & 15);
  test.packet.flags = (first & 16) != 0 ? Packet::kPartialChecksum : 0;
  test.packet.csum_start = csum_start;
  test.packet.csum_offset = csum_offset;

  Parsed parsed;
  for (const Op& op : ops) {
    if (parse(test.packet, parsed)) return 0;
    check(test.packet, parsed);
    const testing::Frame before = test.bytes();
    if (apply_rewrite(op, test.packet, parsed)) require(test.bytes() == before);
  }
  if (parse(test.packet, parsed)) return 0;
  check(test.packet, parsed);
  const bool impossible = (test.packet.flags & Packet::kPartialChecksum) != 0 &&
                          test.packet.head_len != test.packet.len;
  require(finish_partial_checksum(test.packet).has_value() == impossible);
  return 0;
}
