// SPDX-License-Identifier: Apache-2.0
//
// Pings a list of addresses at a fixed rate and keeps account of what comes back.
//
// Each echo request carries the run's number, the target's index and a 64-bit sequence number in
// its payload, so that no reply is ever counted for the wrong request: neither after 16 bits of
// sequence, nor after a restart of the count. All times are nanoseconds of this guest's
// CLOCK_MONOTONIC. Counters are absolute since pinger_zero().
//
// lost = sent - received, once replies had time to arrive; duplicated counts replies to requests
// already replied.
#pragma once

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>

enum {
  kPingTargetsMax = 8,
  // Requests remembered per target: more than twenty minutes at 100 a second.
  kPingWindow = 1 << 17,
};

struct ping_target {
  struct in_addr address;
  uint64_t next_sequence;  // = requests sent
  uint64_t received;       // requests replied, each once
  uint64_t duplicated;
  uint64_t reordered;        // replies to a request older than one already replied
  uint64_t send_failed;      // refused by the kernel, such as a full queue: never sent, not lost
  uint64_t last_sequence;    // newest request replied
  uint64_t last_receive_ns;  // 0: none yet
  uint64_t longest_gap_ns;   // between successive replies as they arrived
  uint64_t longest_gap_sequence;
  uint64_t longest_jump;  // in sequence numbers, between successive replies; 1: none missing, all
                          // in order
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
  uint64_t longest_stall_ns;  // between successive ticks: this guest's own hiccups
};

// False if the socket can't be had; errno says why.
bool pinger_open(struct pinger* pinger);

// All counts become zero; replies to older requests are ignored from here on.
void pinger_zero(struct pinger* pinger);

// The longest gaps become zero; a gap that is going on is measured from its beginning.
void pinger_reset_gaps(struct pinger* pinger);

// Sends one request to each target.
void pinger_tick(struct pinger* pinger, uint64_t now_ns);

// Takes all replies that wait at the socket.
void pinger_receive(struct pinger* pinger);
