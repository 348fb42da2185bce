// SPDX-License-Identifier: Apache-2.0
//
// A library to preload into dpdk-testpmd. It replaces rte_flow_validate() and prints the rule that
// testpmd's parser built, so that a test can compare the meaning of two texts. It is C, because
// rte_flow.h hides its default masks from C++.
//
// Prints one line for each rule: "RULE group priority directions", then
// "| item field=spec[-last]&mask ...", then "> action bytes". Spec and last are masked. The default
// mask replaces a missing one. A `last` of zero, or equal to spec, is left out.
#include <errno.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <rte_flow.h>

struct field {
  const char* name;
  size_t offset, size;
  uint32_t bits;  // In a big-endian field of 2 or 4 bytes. Zero for all bits.
};

struct item {
  enum rte_flow_item_type type;
  const char* name;
  const void* default_mask;
  struct field fields[8];
};

#define FIELD(type, member, name) \
  { name, offsetof(struct type, member), sizeof(((struct type*)0)->member), 0 }
#define BITS(type, member, name, bits) \
  { name, offsetof(struct type, member), sizeof(((struct type*)0)->member), bits }
// The has_... flags: bit fields after this member.
#define FLAGS(type, member, name) \
  { name, offsetof(struct type, member) + sizeof(((struct type*)0)->member), 2, 0 }

static const struct item items[] = {
    {RTE_FLOW_ITEM_TYPE_ETH,
     "eth",
     &rte_flow_item_eth_mask,
     {FIELD(rte_flow_item_eth, dst, "dst"), FIELD(rte_flow_item_eth, src, "src"),
      FIELD(rte_flow_item_eth, type, "type"), FLAGS(rte_flow_item_eth, type, "has")}},
    {RTE_FLOW_ITEM_TYPE_VLAN,
     "vlan",
     &rte_flow_item_vlan_mask,
     {BITS(rte_flow_item_vlan, tci, "pcp", 0xe000), BITS(rte_flow_item_vlan, tci, "dei", 0x1000),
      BITS(rte_flow_item_vlan, tci, "vid", 0x0fff),
      FIELD(rte_flow_item_vlan, inner_type, "inner_type"),
      FLAGS(rte_flow_item_vlan, inner_type, "has")}},
    {RTE_FLOW_ITEM_TYPE_ARP_ETH_IPV4,
     "arp_eth_ipv4",
     &rte_flow_item_arp_eth_ipv4_mask,
     {FIELD(rte_flow_item_arp_eth_ipv4, sha, "sha"), FIELD(rte_flow_item_arp_eth_ipv4, spa, "spa"),
      FIELD(rte_flow_item_arp_eth_ipv4, tha, "tha"),
      FIELD(rte_flow_item_arp_eth_ipv4, tpa, "tpa")}},
    {RTE_FLOW_ITEM_TYPE_IPV4,
     "ipv4",
     &rte_flow_item_ipv4_mask,
     {FIELD(rte_flow_item_ipv4, hdr.type_of_service, "tos"),
      FIELD(rte_flow_item_ipv4, hdr.fragment_offset, "fragment"),
      FIELD(rte_flow_item_ipv4, hdr.time_to_live, "ttl"),
      FIELD(rte_flow_item_ipv4, hdr.next_proto_id, "proto"),
      FIELD(rte_flow_item_ipv4, hdr.src_addr, "src"),
      FIELD(rte_flow_item_ipv4, hdr.dst_addr, "dst")}},
    {RTE_FLOW_ITEM_TYPE_IPV6,
     "ipv6",
     &rte_flow_item_ipv6_mask,
     {BITS(rte_flow_item_ipv6, hdr.vtc_flow, "tc", 0x0ff00000),
      BITS(rte_flow_item_ipv6, hdr.vtc_flow, "flow", 0x000fffff),
      FIELD(rte_flow_item_ipv6, hdr.proto, "proto"),
      FIELD(rte_flow_item_ipv6, hdr.hop_limits, "hop"),
      FIELD(rte_flow_item_ipv6, hdr.src_addr, "src"),
      FIELD(rte_flow_item_ipv6, hdr.dst_addr, "dst"), FLAGS(rte_flow_item_ipv6, hdr, "has")}},
    {RTE_FLOW_ITEM_TYPE_IPV6_EXT, "ipv6_ext", NULL, {}},
    {RTE_FLOW_ITEM_TYPE_IPV6_FRAG_EXT,
     "ipv6_frag_ext",
     NULL,
     {FIELD(rte_flow_item_ipv6_frag_ext, hdr.frag_data, "frag_data")}},
    {RTE_FLOW_ITEM_TYPE_TCP,
     "tcp",
     &rte_flow_item_tcp_mask,
     {FIELD(rte_flow_item_tcp, hdr.src_port, "src"), FIELD(rte_flow_item_tcp, hdr.dst_port, "dst"),
      FIELD(rte_flow_item_tcp, hdr.tcp_flags, "flags")}},
    {RTE_FLOW_ITEM_TYPE_UDP,
     "udp",
     &rte_flow_item_udp_mask,
     {FIELD(rte_flow_item_udp, hdr.src_port, "src"),
      FIELD(rte_flow_item_udp, hdr.dst_port, "dst")}},
    {RTE_FLOW_ITEM_TYPE_SCTP,
     "sctp",
     &rte_flow_item_sctp_mask,
     {FIELD(rte_flow_item_sctp, hdr.src_port, "src"),
      FIELD(rte_flow_item_sctp, hdr.dst_port, "dst")}},
    {RTE_FLOW_ITEM_TYPE_ICMP,
     "icmp",
     &rte_flow_item_icmp_mask,
     {FIELD(rte_flow_item_icmp, hdr.icmp_type, "type"),
      FIELD(rte_flow_item_icmp, hdr.icmp_code, "code"),
      FIELD(rte_flow_item_icmp, hdr.icmp_ident, "ident"),
      FIELD(rte_flow_item_icmp, hdr.icmp_seq_nb, "seq")}},
    {RTE_FLOW_ITEM_TYPE_ICMP6,
     "icmp6",
     &rte_flow_item_icmp6_mask,
     {FIELD(rte_flow_item_icmp6, type, "type"), FIELD(rte_flow_item_icmp6, code, "code")}},
    {RTE_FLOW_ITEM_TYPE_VXLAN,
     "vxlan",
     &rte_flow_item_vxlan_mask,
     {FIELD(rte_flow_item_vxlan, vni, "vni")}},
    {RTE_FLOW_ITEM_TYPE_REPRESENTED_PORT,
     "represented_port",
     &rte_flow_item_ethdev_mask,
     {FIELD(rte_flow_item_ethdev, port_id, "id")}},
    {RTE_FLOW_ITEM_TYPE_PORT_REPRESENTOR,
     "port_representor",
     &rte_flow_item_ethdev_mask,
     {FIELD(rte_flow_item_ethdev, port_id, "id")}},
    {RTE_FLOW_ITEM_TYPE_PORT_ID,
     "port_id",
     &rte_flow_item_port_id_mask,
     {FIELD(rte_flow_item_port_id, id, "id")}},
    {RTE_FLOW_ITEM_TYPE_MARK,
     "mark",
     &rte_flow_item_mark_mask,
     {FIELD(rte_flow_item_mark, id, "id")}},
    {RTE_FLOW_ITEM_TYPE_VOID, "void", NULL, {}},
};

static const struct {
  enum rte_flow_action_type type;
  size_t size;
} arguments[] = {
    {RTE_FLOW_ACTION_TYPE_JUMP, 4},
    {RTE_FLOW_ACTION_TYPE_MARK, 4},
    {RTE_FLOW_ACTION_TYPE_COUNT, 4},
    {RTE_FLOW_ACTION_TYPE_PORT_ID, 8},
    {RTE_FLOW_ACTION_TYPE_REPRESENTED_PORT, 2},
    {RTE_FLOW_ACTION_TYPE_PORT_REPRESENTOR, 2},
    {RTE_FLOW_ACTION_TYPE_OF_PUSH_VLAN, 2},
    {RTE_FLOW_ACTION_TYPE_OF_SET_VLAN_VID, 2},
    {RTE_FLOW_ACTION_TYPE_OF_SET_VLAN_PCP, 1},
    {RTE_FLOW_ACTION_TYPE_SET_MAC_SRC, 6},
    {RTE_FLOW_ACTION_TYPE_SET_MAC_DST, 6},
    {RTE_FLOW_ACTION_TYPE_SET_IPV4_SRC, 4},
    {RTE_FLOW_ACTION_TYPE_SET_IPV4_DST, 4},
    {RTE_FLOW_ACTION_TYPE_SET_IPV6_SRC, 16},
    {RTE_FLOW_ACTION_TYPE_SET_IPV6_DST, 16},
    {RTE_FLOW_ACTION_TYPE_SET_TP_SRC, 2},
    {RTE_FLOW_ACTION_TYPE_SET_TP_DST, 2},
    {RTE_FLOW_ACTION_TYPE_SET_TTL, 1},
};

static void print_bytes(const uint8_t* bytes, size_t size) {
  for (size_t i = 0; i < size; ++i) printf("%02x", bytes[i]);
}

static int is_zero(const uint8_t* bytes, size_t size) {
  while (size > 0 && bytes[size - 1] == 0) --size;
  return size == 0;
}

static void print_field(const struct field* field, const struct rte_flow_item* item,
                        const void* mask_of_item) {
  uint8_t mask[16] = {0}, spec[16] = {0}, last[16] = {0};
  if (mask_of_item != NULL) memcpy(mask, (const uint8_t*)mask_of_item + field->offset, field->size);
  for (size_t i = 0; field->bits != 0 && i < field->size; ++i) {
    mask[i] &= (uint8_t)(field->bits >> 8 * (field->size - 1 - i));
  }
  if (is_zero(mask, field->size)) return;
  for (size_t i = 0; i < field->size; ++i) {
    spec[i] = ((const uint8_t*)item->spec)[field->offset + i] & mask[i];
    if (item->last != NULL) last[i] = ((const uint8_t*)item->last)[field->offset + i] & mask[i];
  }
  printf(" %s=", field->name);
  print_bytes(spec, field->size);
  if (!is_zero(last, field->size) && memcmp(last, spec, field->size) != 0) {
    printf("-");
    print_bytes(last, field->size);
  }
  printf("&");
  print_bytes(mask, field->size);
}

static void print_item(const struct rte_flow_item* item) {
  for (size_t i = 0; i < RTE_DIM(items); ++i) {
    if (items[i].type != item->type) continue;
    printf(" | %s", items[i].name);
    if (item->spec == NULL) {
      printf("%s", item->last != NULL || item->mask != NULL ? " without-spec" : "");
      return;
    }
    const void* mask = item->mask != NULL ? item->mask : items[i].default_mask;
    for (const struct field* field = items[i].fields; field->name != NULL; ++field)
      print_field(field, item, mask);
    return;
  }
  printf(" | unknown-%d", (int)item->type);
}

static void print_action(const struct rte_flow_action* action) {
  printf(" > %d ", (int)action->type);
  for (size_t i = 0; i < RTE_DIM(arguments); ++i) {
    if (arguments[i].type == action->type && action->conf != NULL)
      print_bytes(action->conf, arguments[i].size);
  }
}

int rte_flow_validate(uint16_t port_id, const struct rte_flow_attr* attr,
                      const struct rte_flow_item pattern[], const struct rte_flow_action actions[],
                      struct rte_flow_error* error) {
  (void)port_id;
  printf("RULE %u %u %s%s%s", attr->group, attr->priority, attr->ingress ? "i" : "",
         attr->egress ? "e" : "", attr->transfer ? "t" : "");
  for (; pattern->type != RTE_FLOW_ITEM_TYPE_END; ++pattern) print_item(pattern);
  for (; actions->type != RTE_FLOW_ACTION_TYPE_END; ++actions) print_action(actions);
  printf("\n");
  fflush(stdout);
  return rte_flow_error_set(error, ENOSYS, RTE_FLOW_ERROR_TYPE_UNSPECIFIED, NULL, "printed");
}
