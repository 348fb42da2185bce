// SPDX-License-Identifier: Apache-2.0
//
// `show` and `clear`: commands that change no packet's fate. Ports are printed in the format of
// testpmd.
#include "base/text.h"
#include "control/commands/command_context.h"
#include "control/commands/command_refusal.h"
#include "control/commands/handlers.h"
#include "control/commands/parameters.h"
#include "dataplane/policy/policy_store.h"
#include "dataplane/ports.h"
#include "dataplane/state/fdb.h"
#include "migration/journal/journal.h"

namespace godwit::control {
namespace {

using dataplane::PortInfo;

Json describe(const PortInfo& info) {
  return {{"port", info.id.value},
          {"name", info.name},
          {"kind", info.kind == dataplane::PortKind::kVhost ? "vhost" : "ethdev"},
          {"detail", info.detail},
          {"driver", info.driver},
          {"link", info.link_up ? "up" : "down"},
          {"rings_running", info.rings_running},
          {"dirty_logging", info.dirty_logging},
          {"mtu", info.mtu},
          {"rx_queues", info.rx_queues},
          {"tx_queues", info.tx_queues},
          {"numa_node", info.numa_node},
          {"features", info.features},
          {"mac", to_string(info.mac)},
          {"queue_workers", info.queue_workers}};
}

Json drops_json(const std::array<uint64_t, dataplane::kDropCount>& counts) {
  Json out = Json::object();
  for (size_t i = 0; i < dataplane::kDropCount; ++i) {
    if (counts[i] > 0)
      out[std::string(dataplane::drop_name(static_cast<dataplane::Drop>(i)))] = counts[i];
  }
  return out;
}

uint64_t busy_percent(const dataplane::WorkerInfo& worker) {
  const uint64_t cycles = worker.busy_cycles + worker.idle_cycles;
  if (cycles == 0) return 0;
  return static_cast<uint64_t>(100.0 * static_cast<double>(worker.busy_cycles) /
                               static_cast<double>(cycles));
}

std::string cell(const Json& value) {
  if (value.is_string()) return value.get<std::string>();
  if (value.is_boolean()) return value.get<bool>() ? "yes" : "no";
  if (value.is_null()) return "-";
  return value.dump(-1, ' ', false, Json::error_handler_t::replace);
}

using Rows = std::vector<std::vector<std::string>>;

// Appends one row for each object, with one column for each key.
std::string rows_text(const Json& list, Rows rows, std::initializer_list<const char*> keys) {
  for (const Json& one : list) {
    std::vector<std::string>& row = rows.emplace_back();
    for (const char* key : keys) row.push_back(cell(one.at(key)));
  }
  return table(rows);
}

std::string joined(const Json& list) {
  std::string out;
  for (const Json& one : list) out += (out.empty() ? "" : ",") + cell(one);
  return out.empty() ? "-" : out;
}

std::string number(const Json& object, const char* key) {
  return std::to_string(object.at(key).get<uint64_t>());
}

std::string padded(std::string text, size_t width) {
  if (text.size() < width) text.append(width - text.size(), ' ');
  return text;
}

std::string counts(const Json& drops) {
  std::string out;
  for (const auto& [reason, count] : drops.items()) {
    if (count.get<uint64_t>() > 0)
      out += "  " + padded(reason + ":", 24) + std::to_string(count.get<uint64_t>()) + "\n";
  }
  return out;
}

}  // namespace

Json show_version(CommandContext& context, const Json& json) {
  const Parameters params(json, {});
  return {{"name", "godwit"}, {"version", context.version}, {"host", context.host}};
}
std::string print_show_version(const Json& data, const Json&) {
  return "godwit " + data.at("version").get<std::string>() + " on " +
         data.at("host").get<std::string>() + "\n";
}

Json show_port_summary(CommandContext& context, const Json& json) {
  const Parameters params(json, {"port"});
  Json ports = Json::array();
  for (const PortInfo& info : find_ports(context, params)) {
    ports.push_back({{"port", info.id.value},
                     {"name", info.name},
                     {"mac", to_string(info.mac)},
                     {"driver", info.driver},
                     {"link", info.link_up ? "up" : "down"}});
  }
  return {{"ports", std::move(ports)}};
}
std::string print_show_port_summary(const Json& data, const Json&) {
  return "Number of available ports: " + std::to_string(data.at("ports").size()) + "\n" +
         rows_text(data.at("ports"), {{"Port", "MAC Address", "Name", "Driver", "Status"}},
                   {"port", "mac", "name", "driver", "link"});
}

Json show_port_info(CommandContext& context, const Json& json) {
  const Parameters params(json, {"port"});
  Json ports = Json::array();
  for (const PortInfo& info : find_ports(context, params)) ports.push_back(describe(info));
  return {{"ports", std::move(ports)}};
}
std::string print_show_port_info(const Json& data, const Json&) {
  std::string out;
  for (const Json& port : data.at("ports")) {
    char features[24];
    std::snprintf(features, sizeof features, "0x%llx",
                  static_cast<unsigned long long>(port.at("features").get<uint64_t>()));
    const bool vhost = port.at("kind") == "vhost";
    out += "\n********************* Infos for port " + padded(cell(port.at("port")), 3) +
           "*********************\n";
    out += "Name: " + cell(port.at("name")) + "\n";
    if (!vhost) out += "MAC address: " + cell(port.at("mac")) + "\n";
    out += "Driver name: " + cell(port.at("driver")) + "\n";
    out += (vhost ? "Socket: " : "Devargs: ") + cell(port.at("detail")) + "\n";
    // "Connect to socket" is testpmd's label of the NUMA node.
    out += "Connect to socket: " + cell(port.at("numa_node")) + "\n";
    out += "Link status: " + cell(port.at("link")) + "\n";
    out += "MTU: " + cell(port.at("mtu")) + "\n";
    out += "Current number of RX queues: " + cell(port.at("rx_queues")) + "\n";
    out += "Current number of TX queues: " + cell(port.at("tx_queues")) + "\n";
    out += "Polled by workers: " + joined(port.at("queue_workers")) + "\n";
    if (vhost) {
      out += "Rings running: " + cell(port.at("rings_running")) + "\n";
      out += "Memory being copied: " + cell(port.at("dirty_logging")) + "\n";
      out += std::string("Virtio features: ") + features + "\n";
    }
  }
  return out;
}

Json show_port_stats(CommandContext& context, const Json& json) {
  const Parameters params(json, {"port"});
  Json ports = Json::array();
  for (const PortInfo& info : find_ports(context, params)) {
    const dataplane::PortStats stats = context.ports.stats(info.id);
    ports.push_back({{"port", info.id.value},
                     {"name", info.name},
                     {"rx_packets", stats.rx.packets},
                     {"rx_bytes", stats.rx.bytes},
                     {"tx_packets", stats.tx.packets},
                     {"tx_bytes", stats.tx.bytes},
                     {"drops", drops_json(stats.drops)}});
  }
  return {{"ports", std::move(ports)}};
}
std::string print_show_port_stats(const Json& data, const Json&) {
  std::string out;
  for (const Json& port : data.at("ports")) {
    out += "\n  ######################## NIC statistics for port " +
           padded(cell(port.at("port")), 3) + "########################\n";
    out += "  Name: " + cell(port.at("name")) + "\n";
    out += "  RX-packets: " + padded(number(port, "rx_packets"), 20) +
           " RX-bytes:  " + number(port, "rx_bytes") + "\n";
    out += "  TX-packets: " + padded(number(port, "tx_packets"), 20) +
           " TX-bytes:  " + number(port, "tx_bytes") + "\n";
    const std::string drops = counts(port.at("drops"));
    if (!drops.empty()) out += "  Dropped:\n" + drops;
    out += "  " + std::string(76, '#') + "\n";
  }
  return out;
}

Json clear_port_stats(CommandContext& context, const Json& json) {
  const Parameters params(json, {"port"});
  Json ports = Json::array();
  for (const PortInfo& info : find_ports(context, params)) {
    context.ports.clear_stats(info.id);
    ports.push_back(info.id.value);
  }
  return {{"ports", std::move(ports)}};
}
std::string print_clear_port_stats(const Json& data, const Json&) {
  std::string out;
  for (const Json& port : data.at("ports"))
    out += "\n  NIC statistics for port " + cell(port) + " cleared\n";
  return out;
}

Json show_endpoints(CommandContext& context, const Json& json) {
  const Parameters params(json, {});
  Json endpoints = Json::array();
  for (const dataplane::EndpointRecord* record : context.store.endpoints()) {
    const dataplane::Profile& profile = record->profile;
    Json macs = Json::array(), ips = Json::array();
    for (const MacAddress& mac : profile.macs) macs.push_back(to_string(mac));
    for (const Ipv4Address& ip : profile.ipv4s) ips.push_back(to_string(ip));
    for (const Ipv6Address& ip : profile.ipv6s) ips.push_back(to_string(ip));
    uint64_t ingress = 0, egress = 0, transfer = 0;
    for (const auto& [id, rule] : record->rules) {
      switch (rule->rule.attributes.direction) {
        case dataplane::Direction::kIngress: ++ingress; break;
        case dataplane::Direction::kEgress: ++egress; break;
        default: ++transfer;
      }
    }
    // Staged: the port is here and waits for its policy.
    const bool staged = record->port.valid() && !record->active;
    endpoints.push_back(
        {{"name", profile.name},
         {"kind", profile.kind == dataplane::EndpointKind::kUplink ? "uplink" : "vm"},
         {"location", location_text(context, record->location)},
         {"state", staged ? "staged" : "active"},
         {"port", record->port.valid() ? Json(record->port.value) : Json()},
         {"implicit", record->implicit},
         {"macs", std::move(macs)},
         {"ips", std::move(ips)},
         {"vlans", profile.vlans},
         {"mtu", profile.mtu},
         {"queues", profile.queues},
         {"miss", profile.miss == dataplane::MissPolicy::kDrop ? "drop" : "normal"},
         {"rules", {{"ingress", ingress}, {"egress", egress}, {"transfer", transfer}}}});
  }
  return {{"endpoints", std::move(endpoints)}};
}
std::string print_show_endpoints(const Json& data, const Json&) {
  Rows rows{{"Name", "Kind", "Location", "State", "MACs", "IPs", "Ingress", "Egress", "Transfer"}};
  for (const Json& one : data.at("endpoints")) {
    const Json& rules = one.at("rules");
    rows.push_back({cell(one.at("name")), cell(one.at("kind")), cell(one.at("location")),
                    cell(one.at("state")), joined(one.at("macs")), joined(one.at("ips")),
                    cell(rules.at("ingress")), cell(rules.at("egress")),
                    cell(rules.at("transfer"))});
  }
  return table(rows);
}

Json show_fdb(CommandContext& context, const Json& json) {
  const Parameters params(json, {});
  Json entries = Json::array();
  for (const dataplane::FdbEntry& entry : context.fdb.list(context.now_s())) {
    const dataplane::EndpointRecord* found = context.store.endpoint(entry.endpoint);
    entries.push_back({{"vlan", entry.vlan},
                       {"mac", to_string(entry.mac)},
                       {"endpoint", found == nullptr ? Json() : Json(found->profile.name)},
                       {"age_s", entry.age_s}});
  }
  return {{"entries", std::move(entries)}, {"capacity", context.fdb.capacity()}};
}
std::string print_show_fdb(const Json& data, const Json&) {
  return rows_text(data.at("entries"), {{"VLAN", "MAC", "Endpoint", "Age"}},
                   {"vlan", "mac", "endpoint", "age_s"});
}

Json show_drops(CommandContext& context, const Json& json) {
  const Parameters params(json, {});
  const dataplane::DropTotals totals = context.drops();
  return {{"drops", drops_json(totals.drops)}, {"unpoliced_packets", totals.unpoliced},
          {"parked", totals.parked},           {"unparked", totals.unparked},
          {"redirected", totals.redirected},   {"injected", totals.injected}};
}
std::string print_show_drops(const Json& data, const Json&) {
  const std::string drops = counts(data.at("drops"));
  return (drops.empty() ? "No drops\n" : drops) + "  " + padded("unpoliced_packets:", 24) +
         number(data, "unpoliced_packets") + "\n";
}

Json show_workers(CommandContext& context, const Json& json) {
  const Parameters params(json, {});
  Json workers = Json::array();
  for (const dataplane::WorkerInfo& worker : context.workers()) {
    workers.push_back({{"worker", worker.id.value},
                       {"cpu", worker.cpu},
                       {"numa_node", worker.numa_node},
                       {"running", worker.running},
                       {"rx_queues", worker.rx_queues},
                       {"loops", worker.loops},
                       {"rx_packets", worker.rx_packets},
                       {"tx_packets", worker.tx_packets},
                       {"busy_cycles", worker.busy_cycles},
                       {"idle_cycles", worker.idle_cycles},
                       {"cycles_per_second", worker.cycles_per_second},
                       {"busy_percent", busy_percent(worker)},
                       {"sleeps", worker.sleeps},
                       {"slept_ns", worker.slept_ns},
                       {"held", worker.held}});
  }
  return {{"workers", std::move(workers)}};
}
std::string print_show_workers(const Json& data, const Json&) {
  return rows_text(
      data.at("workers"),
      {{"Worker", "CPU", "Node", "Queues", "RX-packets", "TX-packets", "Busy %", "Sleeps", "Held"}},
      {"worker", "cpu", "numa_node", "rx_queues", "rx_packets", "tx_packets", "busy_percent",
       "sleeps", "held"});
}

Json show_memory(CommandContext& context, const Json& json) {
  const Parameters params(json, {});
  const dataplane::MemoryInfo memory = context.memory();
  Json pools = Json::array(), heaps = Json::array();
  for (const auto& pool : memory.pools) {
    pools.push_back({{"numa_node", pool.numa_node},
                     {"size", pool.size},
                     {"available", pool.available},
                     {"data_bytes", pool.data_bytes}});
  }
  for (const auto& heap : memory.heaps) {
    heaps.push_back({{"numa_node", heap.numa_node},
                     {"total_bytes", heap.total_bytes},
                     {"free_bytes", heap.free_bytes}});
  }
  return {
      {"hugepages", memory.hugepages}, {"pools", std::move(pools)}, {"heaps", std::move(heaps)}};
}
std::string print_show_memory(const Json& data, const Json&) {
  return "Hugepages: " + cell(data.at("hugepages")) + "\n" +
         rows_text(data.at("pools"), {{"Pool node", "Buffers", "Available", "Bytes each"}},
                   {"numa_node", "size", "available", "data_bytes"}) +
         rows_text(data.at("heaps"), {{"Heap node", "Bytes", "Free"}},
                   {"numa_node", "total_bytes", "free_bytes"});
}

Json show_state(CommandContext& context, const Json& json) {
  const Parameters params(json, {});
  constexpr size_t kMostShown = 100;  // records; "set_aside" counts the others as well
  Json records = Json::array();
  uint64_t count = 0;
  if (context.journal != nullptr) {
    for (const migration::SetAside& record : context.journal->set_aside()) {
      // "closed" is the endpoint whose port stays closed, because its policy lacks this record.
      if (++count <= kMostShown)
        records.push_back({{"table", record.table},
                           {"what", record.what},
                           {"closed", record.endpoint.empty() ? Json() : Json(record.endpoint)}});
    }
  }
  return {{"kept", context.journal != nullptr && context.journal->keeps_policy()},
          {"set_aside", count},
          {"records", std::move(records)}};
}
std::string print_show_state(const Json& data, const Json&) {
  return "State is kept: " + cell(data.at("kept")) + "\n" +
         "Damaged records set aside: " + number(data, "set_aside") + "\n" +
         (data.at("records").empty()
              ? ""
              : rows_text(data.at("records"), {{"Table", "Record", "Closed port of"}},
                          {"table", "what", "closed"}));
}

}  // namespace godwit::control
