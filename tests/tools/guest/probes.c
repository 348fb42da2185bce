// SPDX-License-Identifier: Apache-2.0
#define _GNU_SOURCE
#include "probes.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/filter.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <netinet/ip.h>
#include <netinet/tcp.h>
#include <netinet/udp.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "agent.h"

// The last byte distinguishes forbidden and permitted probes.
static const char kMarker[] = "godwit-probe";

struct probe_payload {
  char marker[sizeof kMarker - 1];
  char verdict;  // 'f' for a forbidden probe, 'p' for a permitted one.
  uint8_t kind;
  struct in_addr sender;
  uint64_t sequence;
} __attribute__((packed));

enum {
  kFrameSize = 96,
  kProbeSourcePort = 40000,
  kReceiveSize = 2048,
  kReceiveBatch = 32,
};

static bool parse_mac(const char* text, uint8_t* mac) {
  unsigned byte[ETHER_ADDR_LEN];
  char rest;
  if (sscanf(text, "%2x:%2x:%2x:%2x:%2x:%2x%c", &byte[0], &byte[1], &byte[2], &byte[3], &byte[4],
             &byte[5], &rest) != ETHER_ADDR_LEN)
    return false;
  for (int i = 0; i < ETHER_ADDR_LEN; ++i) mac[i] = (uint8_t)byte[i];
  return true;
}

static bool add_one(struct prober* prober, char* text, bool permitted) {
  if (prober->probes_count == kProbesMax) return false;
  struct probe* probe = &prober->probes[prober->probes_count];
  memset(probe, 0, sizeof *probe);
  probe->permitted = permitted;
  probe->source_ip = prober->own_ip;
  memcpy(probe->source_mac, prober->own_mac, sizeof probe->source_mac);
  char* field[6] = {0};
  unsigned fields = 0;
  for (char* part; (part = strsep(&text, ",")) != NULL;) {
    if (fields == 6) return false;
    field[fields++] = part;
  }
  if (fields < 4) return false;
  if (strcmp(field[0], "udp") == 0) {
    probe->protocol = IPPROTO_UDP;
  } else if (strcmp(field[0], "tcp") == 0) {
    probe->protocol = IPPROTO_TCP;
  } else {
    return false;
  }
  const long port = strtol(field[2], NULL, 10);
  if (port < 1 || port > UINT16_MAX) return false;
  probe->destination_port = (uint16_t)port;
  if (inet_pton(AF_INET, field[1], &probe->destination_ip) != 1) return false;
  if (!parse_mac(field[3], probe->destination_mac)) return false;
  if (fields > 4 && inet_pton(AF_INET, field[4], &probe->source_ip) != 1) return false;
  if (fields > 5 && !parse_mac(field[5], probe->source_mac)) return false;
  ++prober->probes_count;
  return true;
}

bool prober_add(struct prober* prober, const char* text, bool permitted) {
  char* copy = strdup(text);
  if (copy == NULL) return false;
  bool good = true;
  char* rest = copy;
  for (char* one; good && (one = strsep(&rest, ";")) != NULL;) {
    if (*one != '\0') good = add_one(prober, one, permitted);
  }
  free(copy);
  return good;
}

// Filters out the guest's own frames and ICMP, so that they do not wake an emulated guest.
static bool filter_frames(int socket) {
  struct sock_filter code[] = {
      BPF_STMT(BPF_LD | BPF_B | BPF_ABS, (uint32_t)(SKF_AD_OFF + SKF_AD_PKTTYPE)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, PACKET_OUTGOING, 5, 0),
      BPF_STMT(BPF_LD | BPF_H | BPF_ABS, offsetof(struct ether_header, ether_type)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ETHERTYPE_IP, 0, 2),
      BPF_STMT(BPF_LD | BPF_B | BPF_ABS,
               sizeof(struct ether_header) + offsetof(struct iphdr, protocol)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, IPPROTO_ICMP, 1, 0),
      BPF_STMT(BPF_RET | BPF_K, UINT32_MAX),
      BPF_STMT(BPF_RET | BPF_K, 0),
  };
  struct sock_fprog program = {.len = sizeof code / sizeof code[0], .filter = code};
  return setsockopt(socket, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program) == 0;
}

bool prober_open(struct prober* prober, const char* interface) {
  prober->interface_index = (int)if_nametoindex(interface);
  if (prober->interface_index == 0) return false;
  prober->socket = socket(AF_PACKET, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, htons(ETH_P_ALL));
  if (prober->socket < 0 || !filter_frames(prober->socket)) return false;
  int receive_bytes = 4 << 20;
  setsockopt(prober->socket, SOL_SOCKET, SO_RCVBUFFORCE, &receive_bytes, sizeof receive_bytes);
  struct packet_mreq all = {.mr_ifindex = prober->interface_index, .mr_type = PACKET_MR_PROMISC};
  if (setsockopt(prober->socket, SOL_PACKET, PACKET_ADD_MEMBERSHIP, &all, sizeof all) != 0)
    return false;
  struct sockaddr_ll here = {.sll_family = AF_PACKET,
                             .sll_protocol = htons(ETH_P_ALL),
                             .sll_ifindex = prober->interface_index};
  return bind(prober->socket, (struct sockaddr*)&here, sizeof here) == 0;
}

void prober_zero(struct prober* prober) {
  for (unsigned i = 0; i < prober->probes_count; ++i)
    prober->probes[i].sent = prober->probes[i].send_failed = 0;
  prober->heard_count = 0;
  prober->heard_overflow = 0;
}

// Writes the transport header and payload of a probe to `at`. Returns their size.
static size_t write_transport(const struct prober* prober, unsigned kind, uint64_t sequence,
                              uint8_t* at) {
  const struct probe* probe = &prober->probes[kind];
  struct probe_payload payload = {.verdict = probe->permitted ? 'p' : 'f',
                                  .kind = (uint8_t)kind,
                                  .sender = prober->own_ip,
                                  .sequence = sequence};
  memcpy(payload.marker, kMarker, sizeof payload.marker);
  struct {
    struct in_addr source, destination;
    uint8_t zero, protocol;
    uint16_t size;
  } __attribute__((packed))
  pseudo = {probe->source_ip, probe->destination_ip, 0, probe->protocol, 0};
  if (probe->protocol == IPPROTO_UDP) {
    struct udphdr udp = {.source = htons(kProbeSourcePort), .dest = htons(probe->destination_port)};
    const size_t size = sizeof udp + sizeof payload;
    udp.len = htons((uint16_t)size);
    memcpy(at, &udp, sizeof udp);
    memcpy(at + sizeof udp, &payload, sizeof payload);
    pseudo.size = udp.len;
    const uint16_t sum = internet_checksum(checksum_add(0, &pseudo, sizeof pseudo), at, size);
    memcpy(at + offsetof(struct udphdr, check), &sum, sizeof sum);
    return size;
  }
  struct tcphdr tcp = {.source = htons(kProbeSourcePort),
                       .dest = htons(probe->destination_port),
                       .seq = htonl((uint32_t)sequence),
                       .doff = 5,
                       .syn = 1,
                       .window = htons(1024)};
  const size_t size = sizeof tcp + sizeof payload;
  memcpy(at, &tcp, sizeof tcp);
  memcpy(at + sizeof tcp, &payload, sizeof payload);
  pseudo.size = htons((uint16_t)size);
  const uint16_t sum = internet_checksum(checksum_add(0, &pseudo, sizeof pseudo), at, size);
  memcpy(at + offsetof(struct tcphdr, check), &sum, sizeof sum);
  return size;
}

// Writes the whole frame. Returns its size.
static size_t write_probe(const struct prober* prober, unsigned kind, uint64_t sequence,
                          uint8_t* frame) {
  const struct probe* probe = &prober->probes[kind];
  struct ether_header ethernet = {.ether_type = htons(ETHERTYPE_IP)};
  memcpy(ethernet.ether_dhost, probe->destination_mac, ETHER_ADDR_LEN);
  memcpy(ethernet.ether_shost, probe->source_mac, ETHER_ADDR_LEN);
  memcpy(frame, &ethernet, sizeof ethernet);
  const size_t ip_at = sizeof ethernet;
  const size_t transport_size =
      write_transport(prober, kind, sequence, frame + ip_at + sizeof(struct iphdr));
  struct iphdr ip = {.version = 4,
                     .ihl = 5,
                     .tot_len = htons((uint16_t)(sizeof ip + transport_size)),
                     .id = htons((uint16_t)sequence),
                     .ttl = 64,
                     .protocol = probe->protocol,
                     .saddr = probe->source_ip.s_addr,
                     .daddr = probe->destination_ip.s_addr};
  ip.check = internet_checksum(0, &ip, sizeof ip);
  memcpy(frame + ip_at, &ip, sizeof ip);
  return ip_at + sizeof ip + transport_size;
}

void prober_send(struct prober* prober, bool permitted, unsigned each) {
  static uint8_t frames[kProbesMax * kProbeBurst][kFrameSize];
  static struct iovec parts[kProbesMax * kProbeBurst];
  static struct mmsghdr messages[kProbesMax * kProbeBurst];
  static unsigned kinds[kProbesMax * kProbeBurst];
  struct sockaddr_ll to[kProbesMax];
  if (!prober->running) return;
  if (each > kProbeBurst) each = kProbeBurst;
  unsigned count = 0;
  for (unsigned kind = 0; kind < prober->probes_count; ++kind) {
    const struct probe* probe = &prober->probes[kind];
    if (probe->permitted != permitted) continue;
    to[kind] = (struct sockaddr_ll){.sll_family = AF_PACKET,
                                    .sll_ifindex = prober->interface_index,
                                    .sll_halen = ETHER_ADDR_LEN};
    memcpy(to[kind].sll_addr, probe->destination_mac, ETHER_ADDR_LEN);
    for (unsigned i = 0; i < each; ++i, ++count) {
      kinds[count] = kind;
      parts[count] =
          (struct iovec){frames[count], write_probe(prober, kind, probe->sent + i, frames[count])};
      messages[count].msg_hdr = (struct msghdr){.msg_name = &to[kind],
                                                .msg_namelen = sizeof to[kind],
                                                .msg_iov = &parts[count],
                                                .msg_iovlen = 1};
    }
  }
  int sent = count == 0 ? 0 : sendmmsg(prober->socket, messages, count, MSG_DONTWAIT);
  if (sent < 0) sent = 0;
  for (unsigned i = 0; i < count; ++i) {
    struct probe* probe = &prober->probes[kinds[i]];
    // If a probe cannot be sent, no later one was sent, so the next one reuses its number.
    if (i < (unsigned)sent) {
      ++probe->sent;
    } else {
      ++probe->send_failed;
    }
  }
}

static void take_sequence(struct heard* heard, uint64_t sequence) {
  if (sequence >= heard->next) {
    // Clears the slots of numbers that left the window, for reuse.
    uint64_t from = heard->next;
    if (sequence - from >= kHeardWindow) from = sequence - kHeardWindow + 1;
    for (uint64_t i = from; i <= sequence; ++i)
      heard->seen[i % kHeardWindow / 8] &= (uint8_t) ~(1u << i % 8);
    heard->next = sequence + 1;
  } else if (heard->next - sequence <= kHeardWindow &&
             (heard->seen[sequence % kHeardWindow / 8] >> sequence % 8 & 1) != 0) {
    ++heard->duplicated;
    return;
  } else {
    ++heard->reordered;
  }
  heard->seen[sequence % kHeardWindow / 8] |= (uint8_t)(1u << sequence % 8);
  ++heard->received;
}

static void count_heard(struct prober* prober, const struct probe_payload* payload) {
  const bool permitted = payload->verdict == 'p';
  struct heard* heard = prober->heard;
  struct heard* end = heard + prober->heard_count;
  while (heard != end && (heard->permitted != permitted || heard->kind != payload->kind ||
                          heard->sender.s_addr != payload->sender.s_addr))
    ++heard;
  if (heard == end) {
    if (prober->heard_count == kHeardMax) {
      ++prober->heard_overflow;
      return;
    }
    ++prober->heard_count;
    memset(heard, 0, sizeof *heard);
    heard->permitted = permitted;
    heard->sender = payload->sender;
    heard->kind = payload->kind;
  }
  take_sequence(heard, payload->sequence);
}

static void take_frame(struct prober* prober, const uint8_t* frame, size_t size) {
  // Searches the whole frame, because a rule may have tagged or encapsulated it.
  const uint8_t* marker = memmem(frame, size, kMarker, sizeof kMarker - 1);
  struct probe_payload payload;
  if (marker == NULL || (size_t)(frame + size - marker) < sizeof payload) return;
  memcpy(&payload, marker, sizeof payload);
  count_heard(prober, &payload);
}

void prober_receive(struct prober* prober) {
  static uint8_t frames[kReceiveBatch][kReceiveSize];
  struct sockaddr_ll from[kReceiveBatch];
  struct iovec parts[kReceiveBatch];
  struct mmsghdr messages[kReceiveBatch];
  int got;
  do {
    for (unsigned i = 0; i < kReceiveBatch; ++i) {
      parts[i] = (struct iovec){frames[i], kReceiveSize};
      messages[i].msg_hdr = (struct msghdr){.msg_name = &from[i],
                                            .msg_namelen = sizeof from[i],
                                            .msg_iov = &parts[i],
                                            .msg_iovlen = 1};
    }
    got = recvmmsg(prober->socket, messages, kReceiveBatch, MSG_DONTWAIT, NULL);
    for (int i = 0; i < got; ++i) {
      if (from[i].sll_pkttype != PACKET_OUTGOING)
        take_frame(prober, frames[i], messages[i].msg_len);
    }
  } while (got == kReceiveBatch || (got < 0 && errno == EINTR));
}
