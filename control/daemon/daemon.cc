// SPDX-License-Identifier: Apache-2.0
#include "control/daemon/daemon.h"

#include <sched.h>
#include <spdlog/spdlog.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <asio/io_context.hpp>
#include <asio/posix/stream_descriptor.hpp>
#include <asio/signal_set.hpp>
#include <asio/steady_timer.hpp>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <string_view>

#include "base/clock.h"
#include "base/text.h"
#include "control/commands/commands.h"
#include "control/config/faults.h"
#include "control/daemon/peer_setup.h"
#include "control/rpc/control_socket.h"
#include "control/state/stored_state.h"
#include "dataplane/dpdk/runtime.h"
#include "dataplane/policy/policy_store.h"
#include "dataplane/state/fdb.h"
#include "migration/engine/engine.h"
#include "migration/journal/policy_record.h"
#include "migration/link/asio_network.h"

namespace godwit::control {
namespace {

using namespace std::chrono_literals;
using dataplane::Runtime;
using Json = nlohmann::json;

constexpr int kNice = -10;
constexpr uint64_t kSliceNs = 100'000;  // the shortest there is
constexpr auto kCollectBusy = 2ms;      // while something waits to be freed
constexpr int64_t kExpiresSoon_s = 14 * 24 * 3600;
constexpr auto kCollectIdle = 100ms;  // how late something that is freed may be noticed

// Lets any thread wake the control thread.
class Wakeup {
 public:
  Wakeup() : descriptor_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {}
  ~Wakeup() {
    if (descriptor_ >= 0) close(descriptor_);
  }
  Wakeup(const Wakeup&) = delete;
  Wakeup& operator=(const Wakeup&) = delete;
  void wake() const {
    const uint64_t one = 1;
    (void)!write(descriptor_, &one, sizeof one);
  }
  void clear() const {
    uint64_t count = 0;
    (void)!read(descriptor_, &count, sizeof count);
  }
  [[nodiscard]] int descriptor() const { return descriptor_; }

 private:
  int descriptor_;
};

// A better nice level, and a time slice so short that the scheduler lets a thread that wakes up go
// first (sched_setattr(2); EEVDF, Linux 6.12 and later, older ones ignore the slice).
bool ask_for_short_waits() {
  struct {
    uint32_t size, policy;
    uint64_t flags;
    int32_t nice;
    uint32_t priority;
    uint64_t runtime_ns, deadline_ns, period_ns;
  } attributes{};
  attributes.size = sizeof attributes;
  attributes.policy = SCHED_OTHER;
  attributes.nice = kNice;
  attributes.runtime_ns = kSliceNs;
  return syscall(SYS_sched_setattr, 0, &attributes, 0) == 0;
}

// No transparent huge pages, unless the operator asks malloc for them (docs/user/operating.md,
// "Memory"). khugepaged works at nice 19 under the lock of our memory map: where threads of nice
// -10 take the CPUs, whoever maps memory or touches a new page waits for it, for seconds at worst,
// the thread that talks to front-ends among them (prctl(2), PR_SET_THP_DISABLE).
void keep_khugepaged_away() {
  const char* tunables = std::getenv("GLIBC_TUNABLES");
  if (tunables != nullptr &&
      std::string_view(tunables).find("glibc.malloc.hugetlb") != std::string_view::npos)
    return;
  if (prctl(PR_SET_THP_DISABLE, 1UL, 0UL, 0UL, 0UL) != 0)
    spdlog::warn("cannot do without transparent huge pages: {}", std::strerror(errno));
}

void log_line(dataplane::RuntimeLogLevel level, std::string_view line) {
  switch (level) {
    case dataplane::RuntimeLogLevel::kDebug: return spdlog::debug("{}", line);
    case dataplane::RuntimeLogLevel::kWarning: return spdlog::warn("{}", line);
    case dataplane::RuntimeLogLevel::kError: return spdlog::error("{}", line);
    default: return spdlog::info("{}", line);
  }
}

dataplane::RuntimeOptions runtime_options(const HostConfig& config) {
  dataplane::RuntimeOptions options;
  options.host = config.host;
  options.worker_cpus = config.workers.cpus;
  options.spin_us = config.workers.spin_us;
  options.max_sleep_us = config.workers.max_sleep_us;
  options.poll_us = config.workers.poll_us;
  options.hugepages = config.memory.hugepages;
  options.socket_mb = config.memory.socket_mb;
  options.file_prefix = config.memory.file_prefix;
  options.mbufs = config.memory.mbufs;
  for (const UplinkConfig& uplink : config.uplinks)
    options.pci |= dataplane::is_pci_devargs(uplink.devargs);
  options.park = {config.migration.park_packets, config.migration.park_bytes};
  options.log = log_line;
  return options;
}

migration::MigrationOptions migration_options(const HostConfig& config) {
  const MigrationConfig& migration = config.migration;
  migration::MigrationOptions options;
  options.host = config.host;
  options.listen = migration.listen;
  options.plaintext_anywhere = migration.plaintext_anywhere;
  options.encrypted = migration.tls.has_value();
  options.peers = migration.peers;
  options.allow_in = migration.allow_in;
  options.allow_out = migration.allow_out;
  options.vhost_template = migration.vhost_template;
  options.uplink = migration.uplink;
  options.prepare_timeout_ms = migration.prepare_timeout_ms;
  options.window_timeout_ms = migration.window_timeout_ms;
  options.max_preparing = migration.max_preparing;
  options.max_incoming = migration.max_incoming;
  options.ahead = {migration.park_packets, migration.park_bytes};
  return options;
}

const char* event_name(dataplane::PortEventKind kind) {
  switch (kind) {
    case dataplane::PortEventKind::kConnected: return "connected";
    case dataplane::PortEventKind::kDisconnected: return "disconnected";
    case dataplane::PortEventKind::kRingsRunning: return "rings running";
    case dataplane::PortEventKind::kRingsStopped: return "rings stopped";
    case dataplane::PortEventKind::kLoggingStarted: return "its memory is being copied";
    case dataplane::PortEventKind::kLoggingStopped: return "its memory is no longer copied";
    case dataplane::PortEventKind::kFeaturesChanged: return "features negotiated";
    case dataplane::PortEventKind::kInvalid: break;
  }
  return "?";
}

migration::NetworkOptions network_options_with_log(const HostConfig& config) {
  migration::NetworkOptions options = network_options(config);
  options.log = [](const std::string& line) { spdlog::info("{}", line); };
  return options;
}

Json drops_json(const Runtime& runtime) {
  const dataplane::DropTotals totals = runtime.drops();
  Json drops = Json::object();
  for (size_t i = 0; i < dataplane::kDropCount; ++i) {
    if (totals.drops[i] > 0)
      drops[std::string(dataplane::drop_name(static_cast<dataplane::Drop>(i)))] = totals.drops[i];
  }
  return {{"drops", std::move(drops)},       {"unpoliced_packets", totals.unpoliced},
          {"parked", totals.parked},         {"unparked", totals.unparked},
          {"redirected", totals.redirected}, {"injected", totals.injected}};
}

Json workers_json(const Runtime& runtime) {
  Json workers = Json::array();
  for (const dataplane::WorkerInfo& worker : runtime.workers()) {
    const uint64_t cycles = worker.busy_cycles + worker.idle_cycles;
    workers.push_back(
        {{"worker", worker.id.value},
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
         {"busy_percent",
          cycles == 0 ? 0
                      : static_cast<uint64_t>(100.0 * static_cast<double>(worker.busy_cycles) /
                                              static_cast<double>(cycles))},
         {"sleeps", worker.sleeps},
         {"slept_ns", worker.slept_ns},
         {"held", worker.held}});
  }
  return {{"workers", std::move(workers)}};
}

Json memory_json(const Runtime& runtime) {
  const dataplane::MemoryInfo memory = runtime.memory();
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

}  // namespace

// Members are in the order they are made; stop() and destruction go the other way.
struct Daemon::Impl {
  Impl(HostConfig host_config, std::string version_text)
      : config(std::move(host_config)),
        version(std::move(version_text)),
        fdb(config.fdb.entries, config.fdb.ageing_s) {}
  ~Impl() { stop(); }
  migration::Journal* journal() { return directory ? &directory->journal() : nullptr; }

  Result<void> start();
  void arm_faults();
  Result<void> put_stored_policy();
  Result<void> open_ports();
  Result<void> open_uplinks();
  Result<void> open_stored_ports();
  Result<void> bind(const std::string& endpoint, PortId port);
  void start_timers();
  void every(asio::steady_timer& timer, std::function<std::chrono::milliseconds()> action,
             std::chrono::milliseconds first);
  void sync_state();
  void await_wakeup();
  void on_wakeup();
  void await_signal();
  Result<void> load_certificates();
  void stop();

  const HostConfig config;
  const std::string version;
  SteadyClock clock;
  asio::io_context io{1};
  asio::signal_set signals{io};
  Wakeup wakeup;
  std::unique_ptr<ControlSocket> socket;
  std::unique_ptr<StateDirectory> directory;
  std::vector<migration::StoredEndpoint>
      stored_endpoints;            // of which some have ports, until these are open
  std::set<std::string> held_vms;  // moves of the journal: whose they are is not known yet
  dataplane::StateCell state;
  dataplane::Fdb fdb;
  std::optional<dataplane::CounterBank> counters;
  std::unique_ptr<Runtime> runtime;
  std::optional<Reclaimer> reclaimer;
  std::optional<dataplane::PolicyStore> store;
  migration::AsioNetwork network{io, network_options_with_log(config)};
  std::optional<migration::Engine> engine;
  std::optional<Context> context;
  asio::posix::stream_descriptor woken{io};
  asio::steady_timer collect{io}, second{io}, sync{io};
  std::optional<Faults> faults;
  bool serving = false;
  bool state_synced = true;
};

Result<void> Daemon::Impl::start() {
  if (wakeup.descriptor() < 0) return fail("no eventfd");
  auto opened = ControlSocket::open(io, config.socket);
  if (!opened) return fail(opened.error());
  socket = std::move(*opened);
  if (auto loaded = load_certificates(); !loaded) return loaded;
  if (!config.state.directory.empty()) {
    auto state_directory = StateDirectory::open(config);
    if (!state_directory) return fail(state_directory.error());
    directory = std::move(*state_directory);
  }

  // Workers sleep and the control thread decides within a VM's blackout: both must be back on their
  // CPU at once when guests use it too. Threads made from here on inherit it.
  keep_khugepaged_away();
  if (!ask_for_short_waits())
    spdlog::warn("cannot set nice {} and a short time slice: waking up may take longer", kNice);

  const dataplane::RuntimeOptions options = runtime_options(config);
  const auto cpus = Runtime::worker_cpus(options);
  if (!cpus) return fail(cpus.error());
  counters.emplace(static_cast<uint16_t>(cpus->size()));
  auto made = Runtime::create(options, state, fdb, *counters, [this] { wakeup.wake(); });
  if (!made) return fail(made.error());
  runtime = std::move(*made);
  spdlog::info("EAL is up");

  reclaimer.emplace(runtime->grace());
  store.emplace(state, *reclaimer, *counters);
  store->on_endpoint_gone([this](EndpointId endpoint) { fdb.flush(endpoint); });
  if (auto put = directory ? put_stored_policy() : put_policy(config, *store); !put) return put;
  if (auto started = runtime->start(); !started) return started;

  engine.emplace(
      network, migration_options(config), *store, runtime->ports(), runtime->gate(), clock,
      [](const std::string& line) { spdlog::info("{}", line); }, journal());
  arm_faults();
  if (auto ports = open_ports(); !ports) return ports;
  engine->recover();
  if (auto listening = engine->listen(); !listening) return listening;

  context.emplace(Context{config.host, version, *store, runtime->ports(), fdb, *engine, journal(),
                          [] { return Runtime::now_s(); }, [this] { return drops_json(*runtime); },
                          [this] { return workers_json(*runtime); },
                          [this] { return memory_json(*runtime); }});
  start_timers();
  const RpcLaterHandler handler = [this](const std::string& method, const Json& params,
                                         RpcReply reply) {
    call_later(*context, method, params, std::move(reply));
  };
  socket->start_later([handler](std::string_view line, ControlSocket::Answer answer) {
    answer_line(line, handler, std::move(answer));
  });
  serving = true;
  return {};
}

Result<void> Daemon::Impl::bind(const std::string& endpoint, PortId port) {
  dataplane::Transaction transaction(*store);
  const EndpointId id = store->find(endpoint)->id;
  dataplane::Location here;
  here.kind = dataplane::LocationKind::kPort;
  here.port = port;
  Result<void> done = transaction.bind_port(id, port);
  if (done) done = transaction.set_location(id, here);
  if (done) done = transaction.set_active(id, true);
  if (done) transaction.commit();
  return done;
}

void Daemon::Impl::arm_faults() {
  if (config.faults.empty()) return;
  spdlog::warn(
      "FAULT POINTS ARE SET: this switch will kill itself ({} of them). They are for tests only",
      config.faults.size());
  faults.emplace(config.faults, [](const std::string& where) {
    spdlog::warn("fault point {}: killed", where);
    (void)kill(getpid(), SIGKILL);
    for (;;) pause();
  });
  engine->watch([this](migration::MoveRole role, std::string_view action, bool after) {
    faults->reached(std::string(migration::name_of(role)) + " " + std::string(action), after);
  });
  if (directory)
    directory->journal().watch([this](const migration::JournalBatch& batch, bool stored) {
      faults->reached(batch, stored);
    });
}

// What is stored and what the file says, in force before the first port opens.
Result<void> Daemon::Impl::put_stored_policy() {
  auto moves = directory->journal().moves();
  if (!moves) return fail(moves.error());
  for (const migration::MoveRecord& move : *moves) held_vms.insert(move.vm);
  auto restored = restore(config, directory->journal(), *store, false);
  if (!restored) return fail(restored.error());
  for (const std::string& note : restored->combined.notes) spdlog::warn("{}", note);
  store->collect_implicit();
  if (auto written = write_restored(*restored, *store, directory->journal()); !written)
    return written;
  stored_endpoints = std::move(restored->combined.policy.endpoints);
  spdlog::info("state {}: {} endpoints, {} rules, {} moves to take up{}", config.state.directory,
               store->endpoints().size(), store->rule_count(), moves->size(),
               restored->combined.changed ? "; the configuration has been applied" : "");
  return {};
}

// A port of the configuration that cannot be opened ends the start. One that a command or a move
// had made is said, and its endpoint stays without: the others' traffic does not wait for it.
Result<void> Daemon::Impl::open_stored_ports() {
  dataplane::Ports& ports = runtime->ports();
  for (const migration::StoredEndpoint& endpoint : stored_endpoints) {
    const dataplane::Profile& profile = endpoint.profile;
    if (endpoint.socket.empty() && endpoint.devargs.empty()) continue;
    const auto port = endpoint.socket.empty()
                          ? ports.add_ethdev({profile.name, endpoint.devargs, profile.mtu})
                          : ports.add_vhost({profile.name, endpoint.socket, endpoint.server,
                                             profile.queues, profile.mtu});
    Result<void> done;
    if (port)
      done = migration::bind_restored(
          *store, profile.name, *port,
          held_vms.contains(std::string(dataplane::vm_of(profile.name))), endpoint.elsewhere);
    if (port && done) continue;
    const std::string why =
        profile.name + ": " + (port ? done.error().message : port.error().message);
    const auto configured = std::ranges::find(
        config.endpoints, profile.name, [](const EndpointConfig& one) { return one.profile.name; });
    if (configured != config.endpoints.end()) return fail(placed(configured->place, why));
    spdlog::warn("state {}: {}: it has no port", config.state.directory, why);
  }
  stored_endpoints.clear();
  return {};
}

Result<void> Daemon::Impl::open_uplinks() {
  for (const UplinkConfig& uplink : config.uplinks) {
    const auto port = runtime->ports().add_ethdev({uplink.name, uplink.devargs, uplink.mtu});
    Result<void> done;
    if (port) done = bind(uplink.name, *port);
    if (!port || !done)
      return fail(placed(
          uplink.place, uplink.name + ": " + (port ? done.error().message : port.error().message)));
  }
  return {};
}

Result<void> Daemon::Impl::open_ports() {
  if (auto opened = open_uplinks(); !opened) return opened;
  if (directory) return open_stored_ports();
  for (const EndpointConfig& endpoint : config.endpoints) {
    if (!endpoint.vhost) continue;
    const dataplane::Profile& profile = endpoint.profile;
    const auto port =
        runtime->ports().add_vhost({profile.name, endpoint.vhost->socket, endpoint.vhost->server,
                                    profile.queues, profile.mtu});
    Result<void> done;
    if (port) done = bind(profile.name, *port);
    if (!port || !done)
      return fail(placed(endpoint.place, profile.name + ": " +
                                             (port ? done.error().message : port.error().message)));
  }
  return {};
}

void Daemon::Impl::every(asio::steady_timer& timer,
                         std::function<std::chrono::milliseconds()> action,
                         std::chrono::milliseconds first) {
  timer.expires_after(first);
  timer.async_wait([this, &timer, action = std::move(action)](asio::error_code error) mutable {
    if (error) return;
    const auto next = action();
    every(timer, std::move(action), next);
  });
}

void Daemon::Impl::start_timers() {
  every(
      collect,
      [this] {
        return reclaimer->collect() > 0 ? std::chrono::milliseconds(kCollectBusy)
                                        : std::chrono::milliseconds(kCollectIdle);
      },
      kCollectIdle);
  every(
      second,
      [this] {
        fdb.age(Runtime::now_s());
        store->collect_implicit();
        return 1000ms;
      },
      1000ms);
  if (directory && config.state.sync_ms > 0) {
    every(
        sync,
        [this] {
          sync_state();
          return std::chrono::milliseconds(config.state.sync_ms);
        },
        std::chrono::milliseconds(config.state.sync_ms));
  }
  woken.assign(wakeup.descriptor());
  await_wakeup();
}

void Daemon::Impl::sync_state() {
  if (!directory->journal().unsynced()) return;
  const bool synced = static_cast<bool>(directory->journal().sync());
  if (synced != state_synced) {
    if (synced) {
      spdlog::info("state {}: synced again", config.state.directory);
    } else {
      spdlog::error(
          "state {}: cannot be synced, so what commands changed may not survive a loss of power",
          config.state.directory);
    }
  }
  state_synced = synced;
}

void Daemon::Impl::await_wakeup() {
  woken.async_wait(asio::posix::descriptor_base::wait_read, [this](asio::error_code error) {
    if (error) return;
    on_wakeup();
    await_wakeup();
  });
}

void Daemon::Impl::on_wakeup() {
  wakeup.clear();
  for (const dataplane::PortEvent& event : runtime->ports().poll_events()) {
    const dataplane::EndpointRecord* owner = store->by_port(event.port);
    spdlog::info("port {} {}: {}", event.port.value, owner == nullptr ? "" : owner->profile.name,
                 event_name(event.kind));
    engine->on_port_event(event);
  }
  engine->on_gate_ready();
}

void Daemon::Impl::await_signal() {
  signals.async_wait([this](asio::error_code error, int signal) {
    if (error) return;
    if (signal != SIGHUP) {
      spdlog::info("signal {}: stopping", signal);
      return io.stop();
    }
    if (!config.migration.tls) {
      spdlog::info("signal {}: there are no certificates to be read again", signal);
    } else if (auto loaded = load_certificates(); !loaded) {
      spdlog::error("signal {}: {}; the certificates from before stay in use", signal,
                    loaded.error().message);
    }
    await_signal();
  });
}

// One that is not valid now is told and used all the same: peers refuse it, and VMs are not cut off
// for it.
Result<void> Daemon::Impl::load_certificates() {
  if (!config.migration.tls) return {};
  if (auto loaded = network.load_certificates(); !loaded)
    return fail(placed_at_file(*config.migration.tls, loaded.error()));
  const migration::TlsContext& tls = *network.tls();
  spdlog::info("peers are shown the certificate {} for {}, valid to {}", tls.certificate().subject,
               migration::names_text(tls.certificate()), utc_text(tls.certificate().not_after_s));
  const int64_t now_s = std::time(nullptr);
  if (auto valid = tls.check_time(now_s); !valid) {
    spdlog::error("{}: peers will refuse it",
                  placed_at_file(*config.migration.tls, valid.error()).message);
  } else if (tls.certificate().not_after_s - now_s < kExpiresSoon_s) {
    spdlog::warn("the certificate expires in {} hours",
                 (tls.certificate().not_after_s - now_s) / 3600);
  }
  return {};
}

void Daemon::Impl::stop() {
  serving = false;
  if (socket) socket->close();
  if (engine) engine->stop();
  if (woken.is_open()) woken.release();
  context.reset();
  engine.reset();
  if (directory) (void)directory->journal().sync();
  if (runtime) runtime->stop();
  store.reset();
  reclaimer.reset();
  if (runtime && runtime->leaked_buffers() > 0)
    spdlog::error("{} packet buffers were lost", runtime->leaked_buffers());
  runtime.reset();
  directory.reset();
}

Daemon::Daemon(HostConfig config, std::string version)
    : impl_(std::make_unique<Impl>(std::move(config), std::move(version))) {}
Daemon::~Daemon() = default;

Result<void> Daemon::run() {
  Impl& impl = *impl_;
  spdlog::info("godwit {} on {} starts", impl.version, impl.config.host);
  std::signal(SIGPIPE, SIG_IGN);
  impl.signals.add(SIGTERM);
  impl.signals.add(SIGINT);
  impl.signals.add(SIGHUP);
  impl.await_signal();
  if (auto started = impl.start(); !started) {
    impl.stop();
    return started;
  }
  spdlog::info("ready: {} ports, {} endpoints, {} rules, control socket {}",
               impl.runtime->ports().list().size(), impl.store->endpoints().size(),
               impl.store->rule_count(), impl.config.socket);
  impl.io.run();
  impl.stop();
  spdlog::info("stopped");
  return {};
}

}  // namespace godwit::control
