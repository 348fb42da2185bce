// SPDX-License-Identifier: Apache-2.0
//
// A configuration with every key.
#pragma once

#include <string_view>

namespace godwit::control {

inline constexpr std::string_view kWholeConfig = R"(host: host-a
control:
  socket: /tmp/a.sock
workers:
  cpus: [1, 3]
  idle: {spin_us: 10, max_sleep_us: 0}
memory:
  hugepages: false
  socket_mb: 128
  file_prefix: prefix
  mbufs: 8192
fdb: {entries: 4096, ageing_s: 0}
uplinks:
  - name: physnet1
    devargs: "net_af_packet0,iface=up0"
    mtu: 9000
endpoints:
  - name: vm1/net0
    vhost: {socket: /tmp/vm1.sock, mode: server}
    macs: ["02:00:00:00:00:01"]
    ips: ["10.0.0.1", "fd00::1"]
    vlans: [0, 7]
    mtu: 1400
    queues: 2
    miss: drop
  - name: vm2/net0
  - {name: vm3/net0, location: none}
rules:
  - "flow create vm1/net0 ingress pattern eth / end actions drop / end"
migration:
  listen: 127.0.0.1:7400
  plaintext: anywhere
  peers: {host-b: "10.200.0.2:7400"}
  vhost_template: /tmp/{vm}-{nic}.sock
  prepare_timeout_ms: 5000
  window_timeout_ms: 500
  park_packets: 100
  park_bytes: 100000
state: {directory: /var/lib/godwit/, sync_ms: 0}
faults:
  - {before: source rewrite-out}
  - {after: journal destination prepared, skip: 2}
)";

}  // namespace godwit::control
