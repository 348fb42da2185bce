// SPDX-License-Identifier: Apache-2.0
//
// Marked packets that show whether the policy holds. The switch's rules must drop `forbidden`
// probes. `permitted` probes must arrive, which shows that the receiver would see forbidden ones.
//
// A guest sends probes as raw frames with addresses from the host, without ARP. It can therefore
// send them from its first instruction on, and with spoofed sources. A guest receives every frame
// that reaches its NIC, whatever its destination, and counts marked frames by the sender's address
// and kind (the probe's index in the sender's list).
#pragma once

#include <net/ethernet.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>

enum {
  kProbesMax = 16,
  kHeardMax = 64,
  // The number of sequence numbers remembered for each kind. An older probe counts as new.
  kHeardWindow = 1 << 16,
  kProbeBurst = 32,  // The most packets of one probe at once.
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

// The received probes of one kind from one sender.
struct heard {
  bool permitted;
  struct in_addr sender;  // The true address, from the payload.
  uint8_t kind;
  uint64_t received;    // Distinct probes.
  uint64_t duplicated;  // Further copies.
  uint64_t reordered;   // Older than one received before.
  uint64_t next;        // The number after the newest.
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
  uint64_t heard_overflow;  // Marked frames without room in `heard`.
};

// Adds the probes of a text such as
//   udp,10.0.0.1,6666,02:00:00:00:00:01;tcp,10.0.0.2,23,02:00:00:00:00:02,10.9.9.9
// each PROTOCOL,DESTINATION_IP,PORT,DESTINATION_MAC[,SOURCE_IP[,SOURCE_MAC]]. Returns false if the
// text is malformed.
bool prober_add(struct prober* prober, const char* text, bool permitted);

// Opens the interface for sending and receiving. The caller has set own_ip and own_mac.
bool prober_open(struct prober* prober, const char* interface);

void prober_zero(struct prober* prober);

// Sends every permitted or every forbidden probe `each` times, at most kProbeBurst.
void prober_send(struct prober* prober, bool permitted, unsigned each);

// Reads all frames that wait at the socket.
void prober_receive(struct prober* prober);
