// SPDX-License-Identifier: Apache-2.0
#include "migration/link/codec.h"

#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/stubs/logging.h>
#include <google/protobuf/wire_format_lite.h>

#include <algorithm>
#include <array>

#include "base/text.h"

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
  const auto mac_count = static_cast<size_t>(in.macs_size());
  const auto ip_count = static_cast<size_t>(in.ipv4s_size()) + static_cast<size_t>(in.ipv6s_size());
  if (mac_count + ip_count > kMaxProfileAddresses)
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
  if (static_cast<size_t>(in.vlans_size()) > kMaxProfileVlans)
    return fail("peer: a profile of too many VLANs");
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

using google::protobuf::internal::WireFormatLite;
using google::protobuf::io::CodedInputStream;

// Walks the fields directly inside of a message without parsing them. Calls `each` for a field of
// bytes, with the stream at the first of them; `each` consumes all of them. Returns false if the
// bytes are not a message, or if `each` does.
template <typename Each>
bool walk_fields(CodedInputStream& in, int bytes, size_t& fields, const Each& each) {
  const auto outer = in.PushLimit(bytes);
  while (const uint32_t tag = in.ReadTag()) {
    ++fields;
    if (WireFormatLite::GetTagWireType(tag) == WireFormatLite::WIRETYPE_LENGTH_DELIMITED) {
      int length = 0;
      if (!in.ReadVarintSizeAsInt(&length) || !each(WireFormatLite::GetTagFieldNumber(tag), length))
        return false;
    } else if (!WireFormatLite::SkipField(&in, tag)) {
      return false;
    }
  }
  const bool whole = in.ConsumedEntireMessage() && in.BytesUntilLimit() == 0;
  in.PopLimit(outer);
  return whole;
}

// Counts what the bodies of one message hold, and keeps the first breach of a limit.
class Shape {
 public:
  explicit Shape(CodedInputStream& in) : in_(in) {}
  // Counts one body. Returns false if its bytes are not a message.
  bool add(const BodyLimit& limit, int bytes) {
    if (!walk_fields(in_, bytes, fields_,
                     [&](int field, int length) { return add_entry(limit.number, field, length); }))
      return false;
    if (fields_ > limit.fields) breach_ = entries(limit.name, fields_, limit.fields);
    return true;
  }
  // Returns the breach, or an empty text.
  [[nodiscard]] const std::string& breach() const { return breach_; }

 private:
  static std::string entries(const char* name, size_t count, size_t most) {
    return "peer: " + std::string(name) + " of " + std::to_string(count) + " entries, at most " +
           std::to_string(most);
  }
  bool add_entry(int body, int field, int length) {
    const auto limit = std::ranges::find_if(kEntryLimits, [&](const EntryLimit& one) {
      return one.body == body && one.field == field;
    });
    if (limit == std::end(kEntryLimits)) return in_.Skip(length);
    size_t& count = counts_[static_cast<size_t>(limit - std::begin(kEntryLimits))];
    const auto bytes = static_cast<size_t>(length);
    if (++count > limit->count) {
      note("peer: more than " + std::to_string(limit->count) + " entries of " + limit->name);
    } else if (bytes < limit->least_bytes || bytes > limit->most_bytes) {
      note("peer: " + std::string(limit->name) + " of " + std::to_string(bytes) + " bytes, " +
           std::to_string(limit->least_bytes) + " to " + std::to_string(limit->most_bytes) +
           " are possible");
    }
    if (limit->fields == 0 || !breach_.empty()) return in_.Skip(length);
    size_t fields = 0;
    if (!walk_fields(in_, length, fields, [this](int, int inner) { return in_.Skip(inner); }))
      return false;
    if (fields > limit->fields) note(entries(limit->name, fields, limit->fields));
    return true;
  }
  void note(std::string breach) {
    if (breach_.empty()) breach_ = std::move(breach);
  }

  CodedInputStream& in_;
  size_t fields_ = 0;  // directly inside of the bodies
  std::array<size_t, std::size(kEntryLimits)> counts_{};
  std::string breach_;
};

// Checks the limits of the body, at each depth, before anything is allocated. A few bytes can
// encode a million entries.
Result<void> check_shape(std::span<const uint8_t> bytes) {
  CodedInputStream in(bytes.data(), static_cast<int>(bytes.size()));
  Shape shape(in);
  size_t body_bytes = 0, others = 0;
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
    if (!shape.add(*limit, length)) return fail("peer: not a message of this protocol");
    if (!shape.breach().empty()) return fail(shape.breach());
  }
  return {};
}

// Checks the names of an offer and of a delta, which end in logs and in the journal.
Result<void> check_owner(const wire::Rule& rule) {
  if (dataplane::check_endpoint_name(rule.owner())) return {};
  return fail("peer: a rule of `" + printable(rule.owner()) + "`, which is no endpoint's name");
}

Result<void> check_rules(const google::protobuf::RepeatedPtrField<wire::Rule>& rules) {
  if (static_cast<size_t>(rules.size()) > kMaxDocumentRules) return fail("peer: too many rules");
  for (const wire::Rule& rule : rules) {
    if (auto good = check_owner(rule); !good) return good;
    if (rule.text().size() > dataplane::kMaxRuleText) return fail("peer: a rule is too long");
  }
  return {};
}

// Makes a text of the peer fit for logs and reports.
void make_printable(std::string& text, size_t most) { text = one_line(text, most); }

Result<void> clean_words(wire::Envelope& envelope) {
  if (!is_word(envelope.vm()) || !is_word(envelope.move()))
    return fail("peer: the name of a VM or a move is not printable");
  switch (envelope.body_case()) {
    case wire::Envelope::kPrepared:
      make_printable(*envelope.mutable_prepared()->mutable_digest(), kMaxDigestBytes);
      break;
    case wire::Envelope::kRefused:
      for (std::string& reason : *envelope.mutable_refused()->mutable_reasons())
        make_printable(reason, kMaxReasonBytes);
      break;
    case wire::Envelope::kHandover:
      make_printable(*envelope.mutable_handover()->mutable_digest(), kMaxDigestBytes);
      break;
    case wire::Envelope::kRevoked:
      make_printable(*envelope.mutable_revoked()->mutable_reason(), kMaxReasonBytes);
      break;
    case wire::Envelope::kAbort:
      make_printable(*envelope.mutable_abort()->mutable_reason(), kMaxReasonBytes);
      break;
    case wire::Envelope::kDelta:
      if (envelope.delta().has_created())
        if (auto good = check_owner(envelope.delta().created()); !good) return good;
      if (envelope.delta().has_destroyed()) return check_owner(envelope.delta().destroyed());
      break;
    default: break;
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
  if (auto good = clean_words(envelope); !good) return fail(good.error());
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
    out->set_server(document.served.contains(profile.name));
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
    if (std::ranges::find(document.profiles, profile->name, &Profile::name) !=
        document.profiles.end())
      return fail("peer: " + profile->name + " is in the offer twice");
    if (in.server()) document.served.insert(profile->name);
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

void reasons_to_wire(const std::string& reasons, wire::Refused& out) {
  size_t at = 0;
  while (at <= reasons.size() && static_cast<size_t>(out.reasons_size()) < kMaxReasons) {
    const size_t end = std::min(reasons.find('\n', at), reasons.size());
    out.add_reasons(reasons.substr(at, end - at));
    at = end + 1;
  }
}

}  // namespace godwit::migration
