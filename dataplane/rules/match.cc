// SPDX-License-Identifier: Apache-2.0
#include "dataplane/rules/match.h"

#include <algorithm>
#include <span>
#include <string>
#include <utility>

#include "dataplane/rules/vocabulary.h"

namespace godwit::dataplane {

namespace {

constexpr uint16_t kTypeVlan = 0x8100;
constexpr uint16_t kTypeQinq = 0x88a8;

// The EtherType or IP protocol that announces an item's header in the header below it.
struct Announced {
  ItemKind item;
  uint16_t ether_type;  // zero if no EtherType announces it
  uint8_t protocol;     // zero if no IP protocol announces it
};
constexpr Announced kAnnounced[] = {
    {ItemKind::kVlan, kTypeVlan, 0}, {ItemKind::kArpEthIpv4, 0x0806, 0},
    {ItemKind::kIpv4, 0x0800, 0},    {ItemKind::kIpv6, 0x86dd, 0},
    {ItemKind::kTcp, 0, 6},          {ItemKind::kUdp, 0, 17},
    {ItemKind::kSctp, 0, 132},       {ItemKind::kIcmp, 0, 1},
    {ItemKind::kIcmp6, 0, 58},
};

const Announced* announced(ItemKind item) {
  const auto* found = std::find_if(std::begin(kAnnounced), std::end(kAnnounced),
                                   [&](const Announced& entry) { return entry.item == item; });
  return found == std::end(kAnnounced) ? nullptr : found;
}

bool is_tpid(uint64_t type) { return type == kTypeVlan || type == kTypeQinq; }

class MatchCompiler {
 public:
  explicit MatchCompiler(const Rule& rule) : rule_(rule) {}

  bool run() {
    for (size_t i = 0; i < rule_.pattern.size(); ++i) {
      if (!item(rule_.pattern[i])) {
        error_ = "pattern item " + std::to_string(i + 1) + ", " + name_ + ": " + error_;
        return false;
      }
    }
    return true;
  }

  Match take() { return std::move(match_); }
  Error error() const { return Error{error_, 0, 0, name_, {}}; }

 private:
  bool refuse(std::string why) {
    error_ = std::move(why);
    return false;
  }

  bool item(const PatternItem& item) {
    if (item.item >= items().size()) {
      name_ = "?";
      return refuse("no such item");
    }
    const ItemInfo& info = item_info(item.item);
    name_ = info.name;
    if (names_origin(info)) return origin(item);
    if (info.rank == ItemRank::kMeta) return fields(item, info);
    return place(item, info) && fields(item, info);
  }

  bool origin(const PatternItem& item) {
    if (rule_.attributes.direction != Direction::kTransfer) {
      return refuse("only transfer rules name where a packet comes from");
    }
    if (!item.fields.empty()) return refuse("a port has no fields here");
    if (item.endpoint.empty()) return true;
    if (!match_.origin.empty() && match_.origin != item.endpoint) {
      return refuse("a packet cannot come from both " + match_.origin + " and " + item.endpoint);
    }
    match_.origin = item.endpoint;
    return true;
  }

  // Checks that the item may be here, and requires its layer bits.
  bool place(const PatternItem& item, const ItemInfo& info) {
    const auto kind = static_cast<ItemKind>(item.item);
    displacement_ = 0;
    uint16_t layers = info.layers;
    if (info.rank < rank_)
      return refuse("cannot stand above " + std::string(item_info(last_).name));
    if (info.rank == rank_ && info.rank != ItemRank::kExtension) {
      if (kind != ItemKind::kVlan) return refuse("there is another header of this layer already");
      if (vlans_ == 2) return refuse("at most two tags are parsed");
      displacement_ = kInnerVlan;
      layers = kLayerVlan | kLayerVlan2;
    }
    if (!follows(kind)) return false;
    if (kind == ItemKind::kVlan) ++vlans_;
    if (info.rank == ItemRank::kNetwork) network_ = kind;
    rank_ = info.rank;
    last_ = kind;
    // Every packet has kLayerEth. Requiring it would only add another mask to the table.
    return need_layers(static_cast<uint16_t>(layers & ~kLayerEth));
  }

  // Checks that the headers below, as far as the pattern gives them, can carry this one.
  bool follows(ItemKind kind) {
    const bool over_ipv4 = network_ == ItemKind::kIpv4;
    const bool over_ipv6 = network_ == ItemKind::kIpv6;
    const ItemRank rank = item_info(kind).rank;
    if (rank >= ItemRank::kExtension && network_ == ItemKind::kArpEthIpv4)
      return refuse("nothing is carried by ARP");
    if (rank == ItemRank::kExtension && over_ipv4) return refuse("is not a header of IPv4");
    if (kind == ItemKind::kIcmp && over_ipv6) return refuse("is not carried by IPv6; icmp6 is");
    if (kind == ItemKind::kIcmp6 && over_ipv4) return refuse("is not carried by IPv4; icmp is");
    if (kind == ItemKind::kVxlan && rank_ == ItemRank::kTransport && last_ != ItemKind::kUdp) {
      return refuse("is carried by UDP only");
    }
    const Announced* self = announced(kind);
    if (self == nullptr) return true;
    if (self->ether_type != 0 && type_known_ && !carries_type(kind, self->ether_type)) {
      return refuse("the type given below it is another header's");
    }
    if (self->protocol != 0 && protocol_known_ && protocol_ != self->protocol) {
      return refuse("the proto given below it is another header's");
    }
    return true;
  }

  bool carries_type(ItemKind kind, uint16_t wanted) const {
    if (is_tpid(type_)) return true;  // tagged; the pattern does not give the type behind the tags
    return kind != ItemKind::kVlan && type_ == wanted;
  }

  bool need_layers(uint16_t layers) {
    const FieldInfo field{"", 16, offsetof(FlowKey, layers), 2, 0, Format::kNumber, 0, ""};
    const FieldBytes bits = number_value(layers, 16);
    return exact(field, bits, bits);
  }

  bool fields(const PatternItem& item, const ItemInfo& info) {
    if (info.rank != ItemRank::kLink && info.rank != ItemRank::kTag) displacement_ = 0;
    if (info.rank == ItemRank::kLink || info.rank == ItemRank::kTag) type_known_ = false;
    for (const FieldMatch& match : item.fields) {
      if (match.field >= info.fields.size()) return refuse("no such field");
      const FieldInfo& field = info.fields[match.field];
      if (!one_field(static_cast<ItemKind>(item.item), field, match)) {
        error_ = std::string(field.name) + " " + error_;
        return false;
      }
    }
    return true;
  }

  bool one_field(ItemKind kind, const FieldInfo& field, const FieldMatch& match) {
    FieldBytes mask{}, low{}, high{};
    const FieldBytes full = full_mask(field);
    bool any = false;
    for (size_t i = 0; i < mask.size(); ++i) {
      mask[i] = static_cast<uint8_t>(match.mask[i] & full[i]);
      low[i] = static_cast<uint8_t>(match.spec[i] & mask[i]);
      high[i] = static_cast<uint8_t>(match.last[i] & mask[i]);
      any |= mask[i] != 0;
    }
    if (!any) return true;
    uint8_t displacement = displacement_;
    if (field.key_offset == offsetof(FlowKey, layers)) {
      if (displacement != 0) return refuse("is not known of the second tag");
      displacement = 0;
    }
    if (match.has_last && high != low) return range(field, mask, low, high, displacement);
    note(kind, field, mask == full, low);
    return exact(field, low, mask, displacement);
  }

  // Notes a type or protocol that is given in full: it determines which header may follow.
  void note(ItemKind kind, const FieldInfo& field, bool whole, const FieldBytes& value) {
    if (!whole || field.width > 16) return;
    const uint64_t number = value_number(value, field.width);
    if ((kind == ItemKind::kEth && field.name == "type") || field.name == "inner_type") {
      type_known_ = true;
      type_ = number;
    } else if (field.name == "proto" && (kind == ItemKind::kIpv4 || announces(number))) {
      // The next header of IPv6 may be an extension header, behind which any protocol may be.
      protocol_known_ = true;
      protocol_ = number;
    }
  }

  static bool announces(uint64_t protocol) {
    return std::any_of(std::begin(kAnnounced), std::end(kAnnounced), [&](const Announced& entry) {
      return entry.protocol != 0 && entry.protocol == protocol;
    });
  }

  bool range(const FieldInfo& field, const FieldBytes& mask, const FieldBytes& low,
             const FieldBytes& high, uint8_t displacement) {
    if (low > high) return refuse("has a last below its spec");
    FlowKey place;
    const std::span<uint8_t> bytes(place.bytes(), kFlowKeyBytes);
    KeyRange out;
    out.offset = static_cast<uint8_t>(field.key_offset + displacement);
    out.size = field.key_size;
    for (auto [from, to] : {std::pair{&mask, &out.mask}, {&low, &out.low}, {&high, &out.high}}) {
      put_field(field, *from, bytes, displacement);
      std::copy_n(place.bytes() + out.offset, out.size, to->begin());
    }
    match_.ranges.push_back(out);
    return true;
  }

  // Adds bits to value and mask. Refuses bits that contradict the present ones.
  bool exact(const FieldInfo& field, const FieldBytes& value, const FieldBytes& mask,
             uint8_t displacement = 0) {
    FlowKey value_key, mask_key;
    put_field(field, value, {value_key.bytes(), kFlowKeyBytes}, displacement);
    put_field(field, mask, {mask_key.bytes(), kFlowKeyBytes}, displacement);
    for (size_t i = 0; i < kFlowKeyWords; ++i) {
      const uint64_t both = match_.mask.word(i) & mask_key.word(i);
      if (((match_.value.word(i) ^ value_key.word(i)) & both) != 0) {
        return refuse("contradicts the rest of the pattern: nothing could match");
      }
      match_.mask.set_word(i, match_.mask.word(i) | mask_key.word(i));
      match_.value.set_word(i, match_.value.word(i) | (value_key.word(i) & mask_key.word(i)));
    }
    return true;
  }

  const Rule& rule_;
  Match match_;
  std::string name_;
  std::string error_;
  ItemRank rank_ = ItemRank::kMeta;
  ItemKind last_ = ItemKind::kVoid;
  ItemKind network_ = ItemKind::kVoid;
  uint8_t vlans_ = 0;
  uint8_t displacement_ = 0;
  bool type_known_ = false;
  uint64_t type_ = 0;
  bool protocol_known_ = false;
  uint64_t protocol_ = 0;
};

}  // namespace

Result<Match> compile_match(const Rule& rule) {
  if (rule.pattern.size() > kMaxItems) return fail("a pattern has at most 32 items");
  MatchCompiler compiler(rule);
  if (!compiler.run()) return fail(compiler.error());
  return compiler.take();
}

}  // namespace godwit::dataplane
