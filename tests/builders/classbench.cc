// SPDX-License-Identifier: Apache-2.0
#include "tests/builders/classbench.h"

#include <cinttypes>
#include <cstddef>
#include <cstdio>
#include <functional>
#include <memory>

namespace godwit::testing {
namespace {

using dataplane::FlowKey;
using dataplane::KeyRange;
using dataplane::L4Fields;
using dataplane::RuleEntry;

constexpr uint16_t kIpv4Layers = dataplane::kLayerEth | dataplane::kLayerIpv4;
constexpr size_t kMaxLines = 10'000'000;

std::string shell_quoted(const std::string& text) {
  std::string quoted = "'";
  for (const char c : text) {
    if (c == '\'') {
      quoted += "'\\''";
    } else {
      quoted += c;
    }
  }
  return quoted + "'";
}

Result<void> each_line(const std::string& path, const std::function<bool(const char*)>& take) {
  const bool packed = path.ends_with(".xz");
  FILE* file =
      packed ? popen(("xz -dc " + shell_quoted(path)).c_str(), "r") : fopen(path.c_str(), "r");
  if (file == nullptr) return fail("cannot open " + path);
  char line[512];
  size_t number = 0;
  bool good = true;
  while (good && number < kMaxLines && fgets(line, sizeof line, file) != nullptr) {
    ++number;
    good = take(line);
  }
  const int status = packed ? pclose(file) : fclose(file);
  if (!good) return fail(path + ": line " + std::to_string(number) + " has an unexpected format");
  if (status != 0 || number == 0) return fail("cannot read " + path);
  return {};
}

uint32_t prefix_mask(unsigned length) { return length == 0 ? 0 : ~uint32_t{0} << (32 - length); }

void set_port(dataplane::Match& match, be16 L4Fields::*field, size_t offset, uint16_t low,
              uint16_t high) {
  if (low == 0 && high == 65535) return;
  if (low == high) {
    match.mask.l4.*field = to_be16(0xffff);
    match.value.l4.*field = to_be16(low);
    return;
  }
  KeyRange range;
  range.offset = static_cast<uint8_t>(offset);
  range.size = 2;
  range.mask[0] = range.mask[1] = 0xff;
  range.low[0] = static_cast<uint8_t>(low >> 8);
  range.low[1] = static_cast<uint8_t>(low);
  range.high[0] = static_cast<uint8_t>(high >> 8);
  range.high[1] = static_cast<uint8_t>(high);
  match.ranges.push_back(range);
}

bool parse_rule(const char* line, RuleEntry& entry, size_t number) {
  unsigned s[5], d[5], sport[2], dport[2], proto[2];
  const int fields = sscanf(line, "@%u.%u.%u.%u/%u %u.%u.%u.%u/%u %u : %u %u : %u %x/%x", &s[0],
                            &s[1], &s[2], &s[3], &s[4], &d[0], &d[1], &d[2], &d[3], &d[4],
                            &sport[0], &sport[1], &dport[0], &dport[1], &proto[0], &proto[1]);
  if (fields != 16 || s[4] > 32 || d[4] > 32 || sport[1] > 65535 || dport[1] > 65535 ||
      sport[0] > sport[1] || dport[0] > dport[1] || proto[0] > 255 || proto[1] > 255) {
    return false;
  }
  dataplane::Match& match = entry.match;
  match.mask.layers = match.value.layers = to_be16(dataplane::kLayerIpv4);
  match.mask.ipv4.src = to_be32(prefix_mask(s[4]));
  match.mask.ipv4.dst = to_be32(prefix_mask(d[4]));
  match.value.ipv4.src = to_be32((s[0] << 24 | s[1] << 16 | s[2] << 8 | s[3]) & prefix_mask(s[4]));
  match.value.ipv4.dst = to_be32((d[0] << 24 | d[1] << 16 | d[2] << 8 | d[3]) & prefix_mask(d[4]));
  match.mask.ip.proto = static_cast<uint8_t>(proto[1]);
  match.value.ip.proto = static_cast<uint8_t>(proto[0] & proto[1]);
  set_port(match, &L4Fields::src, offsetof(FlowKey, l4.src), static_cast<uint16_t>(sport[0]),
           static_cast<uint16_t>(sport[1]));
  set_port(match, &L4Fields::dst, offsetof(FlowKey, l4.dst), static_cast<uint16_t>(dport[0]),
           static_cast<uint16_t>(dport[1]));
  entry.order.priority = static_cast<uint32_t>(number);
  entry.order.sequence = number;
  entry.id = RuleId{static_cast<uint32_t>(number)};
  entry.visible_from.store(1, std::memory_order_relaxed);
  return true;
}

bool parse_header(const char* line, FlowKey& key) {
  uint32_t source, destination, sport, dport, proto;
  if (sscanf(line, "%" SCNu32 " %" SCNu32 " %" SCNu32 " %" SCNu32 " %" SCNu32, &source,
             &destination, &sport, &dport, &proto) != 5 ||
      sport > 65535 || dport > 65535 || proto > 255) {
    return false;
  }
  key.eth.type = to_be16(0x0800);
  key.ipv4.src = to_be32(source);
  key.ipv4.dst = to_be32(destination);
  key.l4.src = to_be16(static_cast<uint16_t>(sport));
  key.l4.dst = to_be16(static_cast<uint16_t>(dport));
  key.ip.proto = static_cast<uint8_t>(proto);
  key.ip.ttl = 64;
  uint16_t layers = kIpv4Layers;
  if (proto == 6) layers |= dataplane::kLayerTcp;
  if (proto == 17) layers |= dataplane::kLayerUdp;
  key.layers = to_be16(layers);
  return true;
}

}  // namespace

Result<std::deque<RuleEntry>> read_classbench_rules(const std::string& path) {
  std::deque<RuleEntry> rules;
  const Result<void> read = each_line(path, [&](const char* line) {
    const size_t number = rules.size();
    return parse_rule(line, rules.emplace_back(), number);
  });
  if (!read) return fail(read.error());
  return rules;
}

Result<std::vector<FlowKey>> read_classbench_trace(const std::string& path) {
  std::vector<FlowKey> keys;
  const Result<void> read =
      each_line(path, [&](const char* line) { return parse_header(line, keys.emplace_back()); });
  if (!read) return fail(read.error());
  return keys;
}

}  // namespace godwit::testing
