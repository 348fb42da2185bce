// SPDX-License-Identifier: Apache-2.0
#include "pinger.h"

#include <errno.h>
#include <linux/icmp.h>
#include <netinet/ip.h>
#include <string.h>
#include <sys/socket.h>

#include "agent.h"

static const uint64_t kPingMagic = 0x676f647769742d70ULL;  // "godwit-p"

struct ping_payload {
  uint64_t magic;
  uint32_t run;
  uint32_t target;
  uint64_t sequence;
  uint64_t send_ns;
  uint8_t padding[24];
};

struct ping_packet {
  struct icmphdr icmp;
  struct ping_payload payload;
} __attribute__((packed));

// The echo identifier of target 0.
static const uint16_t kPingIdBase = 0x6701;

bool pinger_open(struct pinger* pinger) {
  pinger->socket = socket(AF_INET, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, IPPROTO_ICMP);
  if (pinger->socket < 0) return false;
  struct icmp_filter filter = {.data = ~(1U << ICMP_ECHOREPLY)};
  if (setsockopt(pinger->socket, SOL_RAW, ICMP_FILTER, &filter, sizeof filter) != 0) return false;
  int receive_bytes = 4 << 20;
  return setsockopt(pinger->socket, SOL_SOCKET, SO_RCVBUFFORCE, &receive_bytes,
                    sizeof receive_bytes) == 0;
}

void pinger_zero(struct pinger* pinger) {
  ++pinger->run;
  pinger->longest_stall_ns = 0;
  for (unsigned i = 0; i < pinger->targets_count; ++i) {
    struct ping_target* target = &pinger->targets[i];
    struct in_addr address = target->address;
    memset(target, 0, sizeof *target);
    target->address = address;
  }
}

void pinger_reset_gaps(struct pinger* pinger) {
  pinger->longest_stall_ns = 0;
  for (unsigned i = 0; i < pinger->targets_count; ++i) {
    struct ping_target* target = &pinger->targets[i];
    target->longest_gap_ns = 0;
    target->longest_gap_sequence = 0;
    target->longest_jump = 0;
    target->longest_round_trip_ns = 0;
  }
}

static void send_request(struct pinger* pinger, unsigned index, uint64_t now_ns) {
  struct ping_target* target = &pinger->targets[index];
  struct ping_packet packet = {
      .icmp = {.type = ICMP_ECHO,
               .un.echo = {.id = htons((uint16_t)(kPingIdBase + index)),
                           .sequence = htons((uint16_t)target->next_sequence)}},
      .payload = {.magic = kPingMagic,
                  .run = pinger->run,
                  .target = index,
                  .sequence = target->next_sequence,
                  .send_ns = now_ns},
  };
  packet.icmp.checksum = internet_checksum(0, &packet, sizeof packet);
  struct sockaddr_in to = {.sin_family = AF_INET, .sin_addr = target->address};
  ssize_t sent = sendto(pinger->socket, &packet, sizeof packet, MSG_DONTWAIT, (struct sockaddr*)&to,
                        sizeof to);
  if (sent != (ssize_t)sizeof packet) {
    ++target->send_failed;
    return;
  }
  uint64_t slot = target->next_sequence % kPingWindow;
  target->replied[slot / 8] &= (uint8_t) ~(1U << (slot % 8));
  ++target->next_sequence;
}

void pinger_tick(struct pinger* pinger, uint64_t now_ns) {
  if (!pinger->running) {
    pinger->last_tick_ns = 0;
    return;
  }
  if (pinger->last_tick_ns != 0 && now_ns - pinger->last_tick_ns > pinger->longest_stall_ns)
    pinger->longest_stall_ns = now_ns - pinger->last_tick_ns;
  pinger->last_tick_ns = now_ns;
  for (unsigned i = 0; i < pinger->targets_count; ++i) send_request(pinger, i, now_ns);
}

static void count_reply(struct ping_target* target, const struct ping_payload* payload,
                        uint64_t now_ns) {
  if (payload->sequence >= target->next_sequence) return;
  if (target->next_sequence - payload->sequence > kPingWindow) return;
  uint64_t slot = payload->sequence % kPingWindow;
  uint8_t bit = (uint8_t)(1U << (slot % 8));
  if (target->replied[slot / 8] & bit) {
    ++target->duplicated;
    return;
  }
  target->replied[slot / 8] |= bit;
  ++target->received;
  if (now_ns - payload->send_ns > target->longest_round_trip_ns)
    target->longest_round_trip_ns = now_ns - payload->send_ns;
  if (target->last_receive_ns != 0) {
    uint64_t gap_ns = now_ns - target->last_receive_ns;
    if (gap_ns > target->longest_gap_ns) {
      target->longest_gap_ns = gap_ns;
      target->longest_gap_sequence = payload->sequence;
    }
    if (payload->sequence < target->last_sequence) {
      ++target->reordered;
    } else if (payload->sequence - target->last_sequence > target->longest_jump) {
      target->longest_jump = payload->sequence - target->last_sequence;
    }
  }
  target->last_receive_ns = now_ns;
  if (payload->sequence > target->last_sequence) target->last_sequence = payload->sequence;
}

void pinger_receive(struct pinger* pinger) {
  for (;;) {
    uint8_t packet[2048];
    struct sockaddr_in from;
    socklen_t from_size = sizeof from;
    ssize_t got =
        recvfrom(pinger->socket, packet, sizeof packet, 0, (struct sockaddr*)&from, &from_size);
    if (got < 0) {
      if (errno == EINTR) continue;
      return;
    }
    const uint64_t now_ns = monotonic_ns();
    if (got < (ssize_t)sizeof(struct iphdr)) continue;
    const size_t ip_size = (size_t)(packet[0] & 0xf) * 4;
    struct ping_packet reply;
    if ((size_t)got < ip_size + sizeof reply) continue;
    memcpy(&reply, packet + ip_size, sizeof reply);
    if (reply.payload.magic != kPingMagic || reply.payload.run != pinger->run) continue;
    if (reply.payload.target >= pinger->targets_count) continue;
    struct ping_target* target = &pinger->targets[reply.payload.target];
    if (from.sin_addr.s_addr != target->address.s_addr) continue;
    const struct ping_payload payload = reply.payload;
    count_reply(target, &payload, now_ns);
  }
}
