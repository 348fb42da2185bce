// SPDX-License-Identifier: Apache-2.0
//
// Pings a list of addresses at a fixed rate and counts the replies.
//
// Each echo request carries the run's number, the target's index and a 64-bit sequence number in
// its payload. A reply therefore never counts for the wrong request, even after 16 bits of sequence
// numbers or a reset of the counts. All times are nanoseconds of this guest's CLOCK_MONOTONIC.
// Counters are absolute since pinger_zero().
//
// lost = sent - received, once replies had time to arrive. `duplicated` counts further replies to a
// request that already has one.
#pragma once

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>

enum {
  kPingTargetsMax = 8,
  // The number of requests remembered for each target: more than twenty minutes at 100 a second.
  kPingWindow = 1 << 17,
};

struct ping_target {
  struct in_addr address;
  uint64_t next_sequence;  // The number of requests sent.
  uint64_t received;       // Requests with a reply.
  uint64_t duplicated;
  uint64_t reordered;        // Replies to a request older than one with a reply.
  uint64_t send_failed;      // Refused by the kernel, for example by a full queue. Not lost.
  uint64_t last_sequence;    // The newest request with a reply.
  uint64_t last_receive_ns;  // Zero until the first reply.
  uint64_t longest_gap_ns;   // Between successive replies as they arrived.
  uint64_t longest_gap_sequence;
  // The largest step of the sequence number between successive replies. It is 1 if no reply is
  // missing and all are in order.
  uint64_t longest_jump;
  uint64_t longest_round_trip_ns;
  uint8_t replied[kPingWindow / 8];
};

struct pinger {
  int socket;
  uint32_t run;
  bool running;
  unsigned targets_count;
  struct ping_target targets[kPingTargetsMax];
  uint64_t last_tick_ns;
  uint64_t longest_stall_ns;  // Between successive ticks: the guest's own delays.
};

// Returns false and sets errno if the socket cannot be opened.
bool pinger_open(struct pinger* pinger);

// Resets all counts. Later replies to older requests are ignored.
void pinger_zero(struct pinger* pinger);

// Resets the longest gaps. A gap in progress still counts from its beginning.
void pinger_reset_gaps(struct pinger* pinger);

// Sends one request to each target.
void pinger_tick(struct pinger* pinger, uint64_t now_ns);

// Reads all replies that wait at the socket.
void pinger_receive(struct pinger* pinger);
