// SPDX-License-Identifier: Apache-2.0
//
// Marked packets that tell whether policy holds: `forbidden` ones must be dropped by the switch's
// rules on their way, `permitted` ones must arrive, which shows that the ear that listens for the
// forbidden ones is not deaf.
//
// Probes go out as raw frames with addresses given by the host, without ARP, so that they can be
// sent from a guest's first instruction on and with spoofed sources. A guest hears every frame that
// reaches its NIC, addressed to it or not, and counts the marked ones by the sender's address and
// kind (the probe's index in the sender's list).
#pragma once

#include <net/ethernet.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>

enum {
  kProbesMax = 16,
  kHeardMax = 64,
  // Sequence numbers remembered of each: what is older is taken for new.
  kHeardWindow = 1 << 16,
  kProbeBurst = 32,  // sent of one probe at once, at most
};

struct probe {
  bool permitted;
  uint8_t protocol;  // IPPROTO_UDP or IPPROTO_TCP (a SYN)
  struct in_addr source_ip;
  struct in_addr destination_ip;
  uint16_t destination_port;
  uint8_t source_mac[ETHER_ADDR_LEN];
  uint8_t destination_mac[ETHER_ADDR_LEN];
  uint64_t sent;
  uint64_t send_failed;
};

// What was received from one sender, of one kind.
struct heard {
  bool permitted;
  struct in_addr sender;  // the true address, from the payload
  uint8_t kind;
  uint64_t received;    // each once
  uint64_t duplicated;  // again
  uint64_t reordered;   // older than one received before
  uint64_t next;        // after the newest
  uint8_t seen[kHeardWindow / 8];
};

struct prober {
  int socket;
  int interface_index;
  bool running;
  struct in_addr own_ip;
  uint8_t own_mac[ETHER_ADDR_LEN];
  unsigned probes_count;
  struct probe probes[kProbesMax];
  unsigned heard_count;
  struct heard heard[kHeardMax];
  uint64_t heard_overflow;  // marked frames for which there was no room in `heard`
};

// Adds the probes of a text such as
//   udp,10.0.0.1,6666,02:00:00:00:00:01;tcp,10.0.0.2,23,02:00:00:00:00:02,10.9.9.9,02:00:00:00:09:09
// each PROTOCOL,DESTINATION_IP,PORT,DESTINATION_MAC[,SOURCE_IP[,SOURCE_MAC]]. False if it can't be
// read.
bool prober_add(struct prober* prober, const char* text, bool permitted);

// Listens and sends on the interface; own_ip and own_mac are set before.
bool prober_open(struct prober* prober, const char* interface);

void prober_zero(struct prober* prober);

// Sends each of the permitted or of the forbidden probes so many times (at most kProbeBurst).
void prober_send(struct prober* prober, bool permitted, unsigned each);

// Takes all frames that wait at the socket.
void prober_receive(struct prober* prober);
