// SPDX-License-Identifier: Apache-2.0
#include "migration/link/codec.h"

#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/stubs/logging.h>
#include <google/protobuf/wire_format_lite.h>

#include <algorithm>
#include <array>

namespace godwit::migration {

namespace {

using dataplane::Packet;
using dataplane::Profile;

constexpr size_t kMaxEnvelopeFields = 16;  // beside the body
// The flags of a frame that have a meaning on another host.
constexpr uint32_t kFrameFlags =
    Packet::kPartialChecksum | Packet::kChecksumValid | Packet::kRedirected;

template <typename Address>
Result<std::vector<Address>> addresses(
    const google::protobuf::RepeatedPtrField<std::string>& list) {
  std::vector<Address> out;
  for (const std::string& bytes : list) {
    Address address;
    if (bytes.size() != address.bytes.size())
      return fail("peer: an address of " + std::to_string(bytes.size()) + " bytes");
    std::ranges::copy(bytes, address.bytes.begin());
    out.push_back(address);
  }
  return out;
}

template <typename Address>
void put_addresses(const std::vector<Address>& list,
                   google::protobuf::RepeatedPtrField<std::string>* out) {
  for (const Address& address : list)
    out->Add(std::string(address.bytes.begin(), address.bytes.end()));
}

Result<Profile> from_wire(const wire::Profile& in) {
  Profile profile;
  profile.name = in.name();
  if (auto good = dataplane::check_endpoint_name(profile.name); !good) return fail(good.error());
  if (in.macs_size() + in.ipv4s_size() + in.ipv6s_size() > 1024)
    return fail("peer: a profile of too many addresses");
  auto macs = addresses<MacAddress>(in.macs());
  auto ipv4s = addresses<Ipv4Address>(in.ipv4s());
  auto ipv6s = addresses<Ipv6Address>(in.ipv6s());
  if (!macs) return fail(macs.error());
  if (!ipv4s) return fail(ipv4s.error());
  if (!ipv6s) return fail(ipv6s.error());
  profile.macs = std::move(*macs);
  profile.ipv4s = std::move(*ipv4s);
  profile.ipv6s = std::move(*ipv6s);
  if (in.vlans_size() > 4095) return fail("peer: a profile of too many VLANs");
  for (uint32_t vlan : in.vlans()) {
    if (vlan > 4094) return fail("peer: VLAN " + std::to_string(vlan));
    profile.vlans.push_back(static_cast<uint16_t>(vlan));
  }
  if (in.mtu() < 68 || in.mtu() > 9216)
    return fail("peer: MTU " + std::to_string(in.mtu()) + " is not in 68..9216");
  if (in.queues() < 1 || in.queues() > 16)
    return fail("peer: " + std::to_string(in.queues()) + " queues, 1..16 are possible");
  profile.mtu = static_cast<uint16_t>(in.mtu());
  profile.queues = static_cast<uint16_t>(in.queues());
  profile.features = in.features();
  profile.miss = in.miss_drop() ? dataplane::MissPolicy::kDrop : dataplane::MissPolicy::kNormal;
  return profile;
}

// Checks an epoch before it is compared or stored. `most` leaves room for later ones.
Result<void> check_epoch(const wire::Epoch& epoch, uint64_t most = kMaxEpochCounter) {
  if (!is_host_name(epoch.host())) return fail("peer: an epoch without a host's name");
  if (epoch.counter() > most) {
    return fail("peer: epoch " + std::to_string(epoch.counter()) + ", at most " +
                std::to_string(most) + " is taken here");
  }
  return {};
}

Result<void> check_rules(const google::protobuf::RepeatedPtrField<wire::Rule>& rules) {
  if (static_cast<size_t>(rules.size()) > kMaxDocumentRules) return fail("peer: too many rules");
  for (const wire::Rule& rule : rules) {
    if (rule.owner().size() > kMaxNameBytes || rule.text().size() > dataplane::kMaxRuleText)
      return fail("peer: a rule is too long");
  }
  return {};
}

using google::protobuf::internal::WireFormatLite;
using google::protobuf::io::CodedInputStream;

// Counts the fields directly inside of a message without parsing it. Returns false if the bytes are
// not a message.
bool count_fields(CodedInputStream& in, int bytes, size_t& fields) {
  const auto outer = in.PushLimit(bytes);
  while (const uint32_t tag = in.ReadTag()) {
    ++fields;
    if (!WireFormatLite::SkipField(&in, tag)) return false;
  }
  const bool whole = in.ConsumedEntireMessage() && in.BytesUntilLimit() == 0;
  in.PopLimit(outer);
  return whole;
}

// Checks the limits of the body before anything is allocated. A few bytes can encode a million
// entries.
Result<void> check_shape(std::span<const uint8_t> bytes) {
  CodedInputStream in(bytes.data(), static_cast<int>(bytes.size()));
  size_t body_bytes = 0, body_fields = 0, others = 0;
  while (const uint32_t tag = in.ReadTag()) {
    const auto limit =
        std::ranges::find(kBodyLimits, WireFormatLite::GetTagFieldNumber(tag), &BodyLimit::number);
    if (limit == std::end(kBodyLimits) ||
        WireFormatLite::GetTagWireType(tag) != WireFormatLite::WIRETYPE_LENGTH_DELIMITED) {
      if (++others > kMaxEnvelopeFields || !WireFormatLite::SkipField(&in, tag))
        return fail("peer: not a message of this protocol");
      continue;
    }
    int length = 0;
    if (!in.ReadVarintSizeAsInt(&length)) return fail("peer: not a message of this protocol");
    body_bytes += static_cast<size_t>(length);
    if (body_bytes > limit->bytes) {
      return fail("peer: " + std::string(limit->name) + " of " + std::to_string(body_bytes) +
                  " bytes, at most " + std::to_string(limit->bytes));
    }
    if (!count_fields(in, length, body_fields)) return fail("peer: not a message of this protocol");
    if (body_fields > limit->fields) {
      return fail("peer: " + std::string(limit->name) + " of " + std::to_string(body_fields) +
                  " entries, at most " + std::to_string(limit->fields));
    }
  }
  return {};
}

}  // namespace

std::string frame_message(const wire::Envelope& envelope) {
  const size_t size = envelope.ByteSizeLong();
  std::string out;
  out.reserve(kLengthBytes + size);
  for (int shift = 24; shift >= 0; shift -= 8) out.push_back(static_cast<char>(size >> shift));
  envelope.AppendToString(&out);
  return out;
}

Result<uint32_t> frame_length(std::span<const uint8_t> first_four, uint32_t most) {
  uint32_t length = 0;
  for (size_t i = 0; i < kLengthBytes; ++i) length = length << 8 | first_four[i];
  if (length == 0 || length > most) {
    return fail("peer: a message of " + std::to_string(length) + " bytes, at most " +
                std::to_string(most) + " are taken here");
  }
  return length;
}

Result<wire::Envelope> parse_message(std::span<const uint8_t> bytes) {
  // Keeps protobuf from logging each malformed message; the returned error has the reason.
  static const auto old_handler = google::protobuf::SetLogHandler(nullptr);
  (void)old_handler;
  if (bytes.size() > kMaxMessageBytes)
    return fail("peer: a message of " + std::to_string(bytes.size()) + " bytes");
  if (auto good = check_shape(bytes); !good) return fail(good.error());
  wire::Envelope envelope;
  if (!envelope.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) {
    return fail("peer: not a message of this protocol");
  }
  if (envelope.body_case() == wire::Envelope::BODY_NOT_SET)
    return fail("peer: a message without a body");
  if (envelope.vm().size() > kMaxNameBytes || envelope.move().size() > kMaxMoveIdBytes)
    return fail("peer: a name is too long");
  if (auto good = check_epoch(envelope.epoch()); !good) return fail(good.error());
  if (auto good = check_epoch(envelope.handover().epoch()); !good) return fail(good.error());
  if (auto good = check_epoch(envelope.offer().epoch(), kMaxOfferedCounter); !good)
    return fail(good.error());
  if (envelope.has_redirect()) {
    if (static_cast<size_t>(envelope.redirect().frames_size()) > kMaxRedirectFrames)
      return fail("peer: too many frames in one message");
  }
  if (envelope.has_refused() &&
      static_cast<size_t>(envelope.refused().reasons_size()) > kMaxReasons)
    return fail("peer: too many reasons");
  return envelope;
}

wire::Hello make_hello(const std::string& host) {
  wire::Hello hello;
  hello.set_magic(kMagic);
  hello.set_version_low(kVersionLow);
  hello.set_version_high(kVersionHigh);
  hello.set_host(host);
  return hello;
}

Result<uint32_t> agree_on_version(const wire::Hello& hello) {
  if (hello.magic() != kMagic) return fail("peer: not a Godwit switch");
  if (hello.host().empty() || !is_host_name(hello.host())) return fail("peer: no host name");
  const uint32_t version = std::min(hello.version_high(), kVersionHigh);
  if (version < hello.version_low() || version < kVersionLow) {
    return fail("peer " + hello.host() + " speaks versions " + std::to_string(hello.version_low()) +
                " to " + std::to_string(hello.version_high()) + ", this switch " +
                std::to_string(kVersionLow) + " to " + std::to_string(kVersionHigh));
  }
  return version;
}

void to_wire(const Epoch& epoch, wire::Epoch& out) {
  out.set_counter(epoch.counter);
  out.set_host(epoch.host);
}
Epoch from_wire(const wire::Epoch& epoch) { return {epoch.counter(), epoch.host()}; }

wire::Rule to_wire(const DocumentRule& rule) {
  wire::Rule out;
  out.set_owner(rule.owner);
  out.set_id(rule.id);
  out.set_text(rule.text);
  out.set_packets(rule.packets);
  out.set_bytes(rule.bytes);
  return out;
}
DocumentRule from_wire(const wire::Rule& rule) {
  return {rule.owner(), rule.id(), rule.text(), rule.packets(), rule.bytes()};
}

void to_wire(const Document& document, wire::Offer& offer) {
  offer.set_host(document.host);
  to_wire(document.epoch, *offer.mutable_epoch());
  offer.set_digest(document.digest);
  for (const Profile& profile : document.profiles) {
    wire::Profile* out = offer.add_profiles();
    out->set_name(profile.name);
    put_addresses(profile.macs, out->mutable_macs());
    put_addresses(profile.ipv4s, out->mutable_ipv4s());
    put_addresses(profile.ipv6s, out->mutable_ipv6s());
    for (uint16_t vlan : profile.vlans) out->add_vlans(vlan);
    out->set_mtu(profile.mtu);
    out->set_queues(profile.queues);
    out->set_features(profile.features);
    out->set_miss_drop(profile.miss == dataplane::MissPolicy::kDrop);
  }
  for (const DocumentRule& rule : document.rules) *offer.add_rules() = to_wire(rule);
  for (const DocumentRule& rule : document.uplink_rules) *offer.add_uplink_rules() = to_wire(rule);
  for (const std::string& uplink : document.uplinks) offer.add_uplinks(uplink);
}

Result<Document> from_wire(const std::string& vm, const wire::Offer& offer) {
  Document document;
  document.vm = vm;
  if (auto good = dataplane::check_endpoint_name(vm); !good) return fail(good.error());
  if (!is_host_name(offer.host()) || !is_host_name(offer.epoch().host()))
    return fail("peer: no host's name");
  document.host = offer.host();
  document.epoch = from_wire(offer.epoch());
  document.digest = offer.digest();
  const auto profiles = static_cast<size_t>(offer.profiles_size());
  if (profiles == 0 || profiles > kMaxDocumentProfiles)
    return fail("peer: " + std::to_string(profiles) + " endpoints in an offer");
  for (const wire::Profile& in : offer.profiles()) {
    auto profile = from_wire(in);
    if (!profile) return fail(profile.error());
    if (dataplane::vm_of(profile->name) != vm)
      return fail("peer: " + profile->name + " is not an endpoint of " + vm);
    document.profiles.push_back(std::move(*profile));
  }
  if (auto good = check_rules(offer.rules()); !good) return fail(good.error());
  if (auto good = check_rules(offer.uplink_rules()); !good) return fail(good.error());
  for (const wire::Rule& rule : offer.rules()) document.rules.push_back(from_wire(rule));
  for (const wire::Rule& rule : offer.uplink_rules())
    document.uplink_rules.push_back(from_wire(rule));
  if (static_cast<size_t>(offer.uplinks_size()) > kMaxDocumentProfiles)
    return fail("peer: too many uplinks");
  for (const std::string& uplink : offer.uplinks()) {
    if (auto good = dataplane::check_endpoint_name(uplink); !good) return fail(good.error());
    document.uplinks.push_back(uplink);
  }
  if (digest_of(document) != document.digest)
    return fail("peer: the offer's digest does not fit its rules");
  return document;
}

void to_wire(const dataplane::Frame& frame, const std::string& endpoint, wire::Frame& out) {
  out.set_endpoint(endpoint);
  out.set_data(frame.bytes.data(), frame.bytes.size());
  out.set_flags(frame.flags & kFrameFlags);
  out.set_csum_start(frame.csum_start);
  out.set_csum_offset(frame.csum_offset);
  out.set_mark(frame.mark);
}

Result<dataplane::Frame> from_wire(const wire::Frame& frame) {
  if (frame.data().size() < 14 || frame.data().size() > dataplane::kMaxFrameBytes) {
    return fail("peer: a frame of " + std::to_string(frame.data().size()) + " bytes");
  }
  if ((frame.flags() & ~kFrameFlags) != 0) return fail("peer: a frame with unknown flags");
  if ((frame.flags() & Packet::kPartialChecksum) != 0 &&
      (frame.csum_start() > frame.data().size() || frame.csum_offset() > frame.data().size() ||
       frame.csum_start() + frame.csum_offset() + 2 > frame.data().size())) {
    return fail("peer: a frame whose checksum lies outside");
  }
  dataplane::Frame out;
  out.bytes.assign(frame.data().begin(), frame.data().end());
  out.flags = static_cast<uint8_t>(frame.flags() | Packet::kRedirected);
  out.csum_start = static_cast<uint16_t>(frame.csum_start());
  out.csum_offset = static_cast<uint16_t>(frame.csum_offset());
  out.mark = frame.mark();
  return out;
}

}  // namespace godwit::migration
