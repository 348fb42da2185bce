// SPDX-License-Identifier: Apache-2.0
//
// Measures how soon a worker shows the swap of a VM's policy; kUsage says what is swapped. The
// store, the forwarding state, the classifier and the pipeline are those of the daemon. The worker
// is a thread that does what the daemon's does: it loads the state, processes a burst and reports a
// quiescent state. It has no devices, so every packet is inspected.
//
// Each policy marks packets by two rules in each direction: one sets the TTL and continues, the
// other one sets a port and sends. A packet is torn if it has one mark only, or one of each policy.
//
// The exit code is 1 if a packet was torn or lost or a rule was refused, and 2 for wrong usage.
#include <pthread.h>
#include <sched.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "dataplane/pipeline/pipeline.h"
#include "dataplane/policy/policy_store.h"
#include "dataplane/rules/rule_parser.h"
#include "tests/builders/packet_builder.h"
#include "tests/harness/test_rcu.h"

namespace {

using namespace godwit;
using namespace godwit::dataplane;
using Steady = std::chrono::steady_clock;

constexpr const char* kUsage =
    R"(usage: swap_bench [--swaps N] [--json FILE] RULES...

For each number of RULES, N times (50): one transaction removes the whole policy of a VM and moves
the VM behind the uplink, and another transaction brings it back with a second policy. Meanwhile a
worker processes bursts of 32 packets from and to the VM. Both policies are built before. Times in
microseconds, for each of the two transactions:

  publish   the call that publishes, with its one store
  taken     from before that call until the worker has loaded the published state
  visible   from before that call until the worker has sent the first burst that shows the state:
            64 packets, by tables that are in no cache of its CPU yet
  finish    the records, which are written after the state is in force

  --json FILE   writes {"sizes": [{"rules", "swaps", "build_us", "rewrite": {"publish_us",
                "taken_us", "visible_us", "finish_us"}, "import": {the same}, "packets", "lost",
                "torn"}]} with times as {"p50", "p99", "max"}; - is standard output
)";

constexpr size_t kFrames = kBurst;
constexpr PortId kVmPort{0}, kPeerPort{1}, kUplinkPort{2};

// The marks of a packet at its output.
enum class Look : uint8_t { kNone = 0, kAway, kA, kB, kTorn };

constexpr uint8_t kUntouchedTtl = 64;
constexpr uint16_t kUntouchedPort = 40000;
struct Marks {
  uint8_t ttl;
  uint16_t port;
};
constexpr Marks kMarks[2] = {{11, 1111}, {21, 2111}};

Look look_of(const Packet& packet) {
  const uint8_t ttl = packet.data[22];
  const uint16_t port = static_cast<uint16_t>(packet.data[34] << 8 | packet.data[35]);
  if (ttl == kUntouchedTtl && port == kUntouchedPort) return Look::kAway;
  if (ttl == kMarks[0].ttl && port == kMarks[0].port) return Look::kA;
  if (ttl == kMarks[1].ttl && port == kMarks[1].port) return Look::kB;
  return Look::kTorn;
}

// Counts packets at the outputs, and checks their marks.
class Outside final : public PipelineHost {
 public:
  Packet* clone(const Packet&) override { return nullptr; }
  void free(std::span<Packet* const> packets) override { lost += packets.size(); }
  void transmit(std::span<const Output> outputs) override {
    for (const Output& output : outputs) {
      const Look look = look_of(*output.packet);
      const bool from_vm = output.port == kPeerPort;
      // The rules of the VM apply exactly while it is local.
      const bool right =
          output.port == kUplinkPort ? look == Look::kAway : look == Look::kA || look == Look::kB;
      torn += !right;
      if (!from_vm) to_vm = look;
    }
    sent += outputs.size();
  }
  bool redirect(EndpointId, Packet*) override { return false; }
  void punt(EndpointId, const Packet&) override {}
  uint64_t sent = 0, lost = 0, torn = 0;
  Look to_vm = Look::kNone;  // The marks of the last packet to the VM.
};

void pin(unsigned cpu) {
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(cpu % std::max(1u, std::thread::hardware_concurrency()), &set);
  pthread_setaffinity_np(pthread_self(), sizeof set, &set);
}

// The packets of a burst, which are restored before each use.
class Frames {
 public:
  Frames(std::string_view from, std::string_view to, const char* source, const char* destination) {
    for (size_t i = 0; i < kFrames; ++i) {
      packets_.push_back(std::make_unique<testing::TestPacket>(
          testing::PacketBuilder()
              .eth(to, from)
              .ipv4(source, destination)
              .udp(kUntouchedPort, static_cast<uint16_t>(2000 + i))
              .payload(18)
              .build()));
      Packet& packet = packets_.back()->packet;
      pristine_.emplace_back(packet.data, packet.data + packet.len);
    }
  }
  std::span<Packet* const> burst() {
    for (size_t i = 0; i < kFrames; ++i) {
      Packet& packet = packets_[i]->packet;
      packet.mark = 0;
      std::memcpy(packet.data, pristine_[i].data(), pristine_[i].size());
      burst_[i] = &packet;
    }
    return burst_;
  }

 private:
  std::vector<std::unique_ptr<testing::TestPacket>> packets_;
  std::vector<testing::Frame> pristine_;
  std::array<Packet*, kFrames> burst_{};
};

struct Seen {
  std::atomic<uint64_t> cycles{0};  // When the first burst that showed `look` was sent.
  std::atomic<uint64_t> taken{0};   // When the worker loaded that state.
  std::atomic<Look> look{Look::kNone};
};

// The parts of the switch that a worker and the control thread share, and the worker's pipeline.
struct Switch {
  explicit Switch(PipelineHost& outputs) : host(outputs) {}

  PipelineHost& host;
  testing::TestRcu rcu;
  Reclaimer reclaimer{rcu};
  CounterBank counters{1};
  StateCell cell;
  PolicyStore store{cell, reclaimer, counters};
  Fdb fdb{1024, 300};
  GroupDedupe dedupe;
  DropCounters drops;
  Pipeline pipeline{WorkerId{0}, host,  fdb,          counters,
                    dedupe,      drops, ParkLimits{}, FlowCacheOptions{.seed = 42}};
};

// One VM, its peer and the uplink. The control thread is the caller's; start() adds the worker.
class Bench {
 public:
  Bench() {
    Transaction t(switch_.store);
    uplink_ = add(t, "physnet1", EndpointKind::kUplink, "", kUplinkPort);
    vm_ = add(t, "vm1/net0", EndpointKind::kVm, testing::kMacOne, kVmPort);
    peer_ = add(t, "vm2/net0", EndpointKind::kVm, testing::kMacTwo, kPeerPort);
    t.commit();
    reader_ = switch_.rcu.register_reader();
  }
  ~Bench() { stop(); }
  Bench(const Bench&) = delete;
  Bench& operator=(const Bench&) = delete;

  // Parses the rules of both policies. Returns false if one is refused.
  bool parse(size_t rules) {
    for (size_t which = 0; which < 2; ++which) {
      for (const std::string& text : policy(rules, which)) {
        auto parsed = parse_rule(text);
        if (!parsed) return complain(text, parsed.error().message);
        specs_[which].push_back({"vm1/net0", RuleId{}, std::move(*parsed)});
      }
    }
    return true;
  }
  // Builds policy 0 or 1. Returns null if it is refused.
  std::unique_ptr<DetachedPolicy> build(size_t which) {
    const auto begin = Steady::now();
    auto built = switch_.store.build(vm_, specs_[which]);
    build_us.push_back(microseconds_since(begin));
    if (!built) {
      complain("the policy", built.error().message);
      return nullptr;
    }
    return std::move(*built);
  }
  void start() {
    worker_ = std::thread([this] { work(); });
  }
  void stop() {
    stop_.store(true);
    if (worker_.joinable()) worker_.join();
    switch_.reclaimer.drain();
  }

  struct Times {
    std::vector<double> publish_us, taken_us, visible_us, finish_us;
  };
  // Removes the policy of the VM and moves the VM behind the uplink.
  void rewrite() {
    Transaction t(switch_.store);
    (void)t.detach(vm_);
    (void)t.set_location(vm_, {LocationKind::kUplink, {}, uplink_});
    (void)t.set_active(vm_, false);
    publish(t, Look::kAway, rewrites);
  }
  // Attaches `policy` and moves the VM back to its port. Returns false if it is refused.
  bool import(std::unique_ptr<DetachedPolicy> policy, size_t which) {
    Transaction t(switch_.store);
    if (!t.attach(std::move(policy))) return false;
    (void)t.set_location(vm_, {LocationKind::kPort, kVmPort, {}});
    (void)t.set_active(vm_, true);
    publish(t, which == 0 ? Look::kA : Look::kB, imports);
    return true;
  }
  void collect() { switch_.reclaimer.drain(); }
  void forget_times() { rewrites = imports = {}; }

  Times rewrites, imports;
  std::vector<double> build_us;
  Outside outside;       // Written by the worker until stop().
  uint64_t offered = 0;  // Written by the worker until stop().

 private:
  static EndpointId add(Transaction& t, const char* name, EndpointKind kind, std::string_view mac,
                        PortId port) {
    Profile profile;
    profile.name = name;
    profile.kind = kind;
    if (!mac.empty()) profile.macs = {*parse_mac(mac)};
    const EndpointId id = *t.add_endpoint(profile, {LocationKind::kPort, port, {}});
    (void)t.bind_port(id, port);
    (void)t.set_active(id, true);
    return id;
  }
  static bool complain(const std::string& what, const std::string& why) {
    std::fprintf(stderr, "swap_bench: %s: %s\n", what.c_str(), why.c_str());
    return false;
  }
  static double microseconds_since(Steady::time_point begin) {
    return std::chrono::duration<double, std::micro>(Steady::now() - begin).count();
  }

  // Returns the texts of a policy: four rules that mark, and others in common shapes that no packet
  // here hits.
  static std::vector<std::string> policy(size_t rules, size_t which) {
    const std::string ttl = std::to_string(kMarks[which].ttl),
                      port = std::to_string(kMarks[which].port);
    std::vector<std::string> out = {
        "ingress priority 10 pattern eth / ipv4 / udp / end actions set_ttl ttl_value " + ttl +
            " / passthru / end",
        "ingress priority 20 pattern eth / ipv4 / udp / end actions set_tp_src port " + port +
            " / represented_port ethdev_port_id vm2/net0 / end",
        "egress priority 10 pattern eth / ipv4 / udp / end actions set_ttl ttl_value " + ttl +
            " / passthru / end",
        "egress priority 20 pattern eth / ipv4 / udp / end actions set_tp_src port " + port +
            " / end",
    };
    for (size_t n = 0; out.size() < rules; ++n) {
      const std::string high = std::to_string(n >> 8 & 255), low = std::to_string(n & 255),
                        number = std::to_string(5000 + n % 60000);
      const std::string patterns[] = {
          "eth / ipv4 dst is 10.200." + high + "." + low + " / tcp dst is " + number,
          "eth / ipv4 src is 10.201." + high + "." + low + " / tcp dst spec " + number +
              " dst last 65535 dst mask 65535",
          "eth / ipv4 src spec 10.202." + high + ".0 src prefix 24 / tcp src is " + number,
          "eth / vlan vid is " + std::to_string(1 + n % 4000) + " / ipv4 dst is 10.203." + high +
              "." + low,
      };
      out.push_back(std::string(n % 3 == 0 ? "egress" : "ingress") + " priority " +
                    std::to_string(1 + n % 5) + " pattern " + patterns[n % 4] +
                    " / end actions drop / end");
    }
    return out;
  }

  void publish(Transaction& t, Look expected, Times& times) {
    const uint64_t began = cycles_now();
    const auto begin = Steady::now();
    t.publish();
    times.publish_us.push_back(microseconds_since(begin));
    while (seen_.look.load(std::memory_order_acquire) != expected) __builtin_ia32_pause();
    times.taken_us.push_back(static_cast<double>(seen_.taken.load() - began) / cycles_per_us_);
    times.visible_us.push_back(static_cast<double>(seen_.cycles.load() - began) / cycles_per_us_);
    const auto published = Steady::now();
    t.finish();
    times.finish_us.push_back(microseconds_since(published));
  }

  // Runs the daemon's loop without devices: a burst from the VM while it is polled, and one to it.
  void work() {
    pin(1);
    Frames from_vm(testing::kMacOne, testing::kMacTwo, "10.0.0.1", "10.0.0.2");
    Frames to_vm(testing::kMacTwo, testing::kMacOne, "10.0.0.2", "10.0.0.1");
    const ForwardingState* before = nullptr;
    uint64_t taken = 0;
    while (!stop_.load(std::memory_order_relaxed)) {
      const ForwardingState& state = *switch_.cell.load();
      if (std::exchange(before, &state) != &state) taken = cycles_now();
      if (state.polled(kVmPort)) {
        switch_.pipeline.process(state, kVmPort, from_vm.burst(), 1);
        offered += kFrames;
      }
      switch_.pipeline.process(state, kPeerPort, to_vm.burst(), 1);
      offered += kFrames;
      if (outside.to_vm != seen_.look.load(std::memory_order_relaxed)) {
        seen_.cycles.store(cycles_now(), std::memory_order_relaxed);
        seen_.taken.store(taken, std::memory_order_relaxed);
        seen_.look.store(outside.to_vm, std::memory_order_release);
      }
      switch_.rcu.quiescent(reader_);
    }
    switch_.rcu.offline(reader_);
  }

  static double measure_clock() {
    const auto begin = Steady::now();
    const uint64_t cycles = cycles_now();
    while (microseconds_since(begin) < 20'000) {
    }
    return static_cast<double>(cycles_now() - cycles) / microseconds_since(begin);
  }

  Switch switch_{outside};
  EndpointId vm_, peer_, uplink_;
  std::array<std::vector<RuleSpec>, 2> specs_;
  size_t reader_ = 0;
  std::thread worker_;
  std::atomic<bool> stop_{false};
  Seen seen_;
  const double cycles_per_us_ = measure_clock();
};

struct Spread {
  double p50 = 0, p99 = 0, max = 0;
};

Spread spread(std::vector<double> values) {
  if (values.empty()) return {};
  std::sort(values.begin(), values.end());
  return {values[values.size() / 2], values[values.size() * 99 / 100], values.back()};
}

std::string json_of(const char* name, const std::vector<double>& values) {
  const Spread s = spread(values);
  char text[160];
  std::snprintf(text, sizeof text, "\"%s\": {\"p50\": %.6g, \"p99\": %.6g, \"max\": %.6g}", name,
                s.p50, s.p99, s.max);
  return text;
}

std::string json_of(const char* name, const Bench::Times& times) {
  return std::string("\"") + name + "\": {" + json_of("publish_us", times.publish_us) + ", " +
         json_of("taken_us", times.taken_us) + ", " + json_of("visible_us", times.visible_us) +
         ", " + json_of("finish_us", times.finish_us) + "}";
}

// Measures one number of rules. Returns false if a rule was refused or a packet lost or torn.
bool measure(size_t rules, size_t swaps, bool quiet, std::string& json) {
  Bench bench;
  if (!bench.parse(rules)) return false;
  auto next = bench.build(0);
  if (next == nullptr) return false;
  bench.start();
  bench.rewrite();
  if (!bench.import(std::move(next), 0)) return false;
  bench.forget_times();  // The first swap finds all caches cold.
  for (size_t n = 1; n <= swaps; ++n) {
    next = bench.build(n % 2);
    if (next == nullptr) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(2));  // The worker runs again.
    bench.rewrite();
    if (!bench.import(std::move(next), n % 2)) return false;
    bench.collect();
  }
  bench.stop();
  const Outside& outside = bench.outside;
  const uint64_t lost = outside.lost + (bench.offered - outside.sent - outside.lost);
  char text[200];
  std::snprintf(text, sizeof text,
                "{\"rules\": %zu, \"swaps\": %zu, \"packets\": %lu, \"lost\": %lu, \"torn\": %lu, ",
                rules, swaps, bench.offered, lost, outside.torn);
  json = text + json_of("build_us", bench.build_us) + ", " + json_of("rewrite", bench.rewrites) +
         ", " + json_of("import", bench.imports) + "}";
  if (!quiet) {
    const Spread away = spread(bench.rewrites.visible_us), back = spread(bench.imports.visible_us);
    std::printf(
        "%7zu rules: visible after %6.1f us (p99 %6.1f) away, %6.1f us (p99 %6.1f) back; records "
        "%9.1f us; build %9.1f us; "
        "%lu packets, %lu lost, %lu torn\n",
        rules, away.p50, away.p99, back.p50, back.p99, spread(bench.imports.finish_us).p50,
        spread(bench.build_us).p50, bench.offered, lost, outside.torn);
    std::fflush(stdout);
  }
  return lost == 0 && outside.torn == 0;
}

}  // namespace

int main(int argc, char** argv) {
  size_t swaps = 50;
  std::string json_path;
  std::vector<size_t> sizes;
  for (int i = 1; i < argc; ++i) {
    const std::string word = argv[i];
    if (word == "--help") return std::fputs(kUsage, stdout) < 0;
    if (word == "--swaps" && i + 1 < argc) {
      swaps = std::max(1, std::atoi(argv[++i]));
    } else if (word == "--json" && i + 1 < argc) {
      json_path = argv[++i];
    } else if (const long rules = std::atol(word.c_str()); rules >= 4 && rules <= 1'000'000) {
      sizes.push_back(static_cast<size_t>(rules));
    } else {
      sizes.clear();
      break;
    }
  }
  if (sizes.empty()) return std::fputs(kUsage, stderr), 2;
  pin(0);
  bool good = true;
  std::string all;
  for (const size_t rules : sizes) {
    std::string json;
    good = measure(rules, swaps, json_path == "-", json) && good;
    if (!json.empty()) all += (all.empty() ? "  " : ",\n  ") + json;
  }
  if (json_path.empty()) return good ? 0 : 1;
  FILE* file = json_path == "-" ? stdout : std::fopen(json_path.c_str(), "w");
  if (file == nullptr || std::fprintf(file, "{\"sizes\": [\n%s\n]}\n", all.c_str()) < 0 ||
      std::fclose(file) != 0) {
    std::fprintf(stderr, "swap_bench: cannot write %s\n", json_path.c_str());
    return 1;
  }
  return good ? 0 : 1;
}
