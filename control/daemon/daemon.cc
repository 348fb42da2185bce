// SPDX-License-Identifier: Apache-2.0
#include "control/daemon/daemon.h"

#include <spdlog/spdlog.h>
#include <unistd.h>

#include <asio/io_context.hpp>
#include <asio/signal_set.hpp>
#include <chrono>
#include <csignal>
#include <nlohmann/json.hpp>
#include <optional>

#include "base/clock.h"
#include "base/text.h"
#include "control/commands/dispatcher.h"
#include "control/config/config_policy.h"
#include "control/config/faults.h"
#include "control/config/reload_settings.h"
#include "control/daemon/config_reload.h"
#include "control/daemon/option_mapping.h"
#include "control/daemon/peer_certificates.h"
#include "control/daemon/periodic_timer.h"
#include "control/daemon/port_opening.h"
#include "control/daemon/process_tuning.h"
#include "control/daemon/state_sync.h"
#include "control/daemon/wakeup.h"
#include "control/rpc/control_socket.h"
#include "control/state/restore.h"
#include "control/state/state_directory.h"
#include "dataplane/dpdk/runtime.h"
#include "dataplane/policy/policy_store.h"
#include "dataplane/state/fdb.h"
#include "migration/engine/engine.h"
#include "migration/link/asio_network.h"

namespace godwit::control {
namespace {

using namespace std::chrono_literals;
using dataplane::Runtime;

constexpr auto kCollectBusy = 2ms;    // while something waits to be freed
constexpr auto kCollectIdle = 100ms;  // the latest time at which freed memory is noticed

const char* event_name(dataplane::PortEventKind kind) {
  switch (kind) {
    case dataplane::PortEventKind::kConnected: return "connected";
    case dataplane::PortEventKind::kDisconnected: return "disconnected";
    case dataplane::PortEventKind::kRingsRunning: return "rings running";
    case dataplane::PortEventKind::kRingsStopped: return "rings stopped";
    case dataplane::PortEventKind::kLoggingStarted: return "dirty logging started";
    case dataplane::PortEventKind::kLoggingStopped: return "dirty logging stopped";
    case dataplane::PortEventKind::kFeaturesChanged: return "features negotiated";
    case dataplane::PortEventKind::kInvalid: break;
  }
  return "?";
}

// The switch itself. Members are in the order of their creation.
struct Switch {
  explicit Switch(const FdbConfig& config) : fdb(config.entries, config.ageing_s) {}
  Result<void> create(const HostConfig& config, const Wakeup& wakeup);
  void stop();

  dataplane::StateCell state;
  dataplane::Fdb fdb;
  std::optional<dataplane::CounterBank> counters;
  std::unique_ptr<Runtime> runtime;
  std::optional<Reclaimer> reclaimer;
  std::optional<dataplane::PolicyStore> store;
};

// Starts EAL and creates the workers and an empty policy store. The workers do not run yet.
Result<void> Switch::create(const HostConfig& config, const Wakeup& wakeup) {
  const dataplane::RuntimeOptions options = runtime_options(config);
  const auto cpus = Runtime::worker_cpus(options);
  if (!cpus) return fail(cpus.error());
  counters.emplace(static_cast<uint16_t>(cpus->size()));
  auto made = Runtime::create(options, state, fdb, *counters, [&wakeup] { wakeup.wake(); });
  if (!made) return fail(made.error());
  runtime = std::move(*made);
  spdlog::info("EAL is up");
  reclaimer.emplace(runtime->grace());
  store.emplace(state, *reclaimer, *counters);
  store->on_endpoint_gone([this](EndpointId endpoint) { fdb.flush(endpoint); });
  return {};
}

void Switch::stop() {
  if (runtime) runtime->stop();
  store.reset();
  reclaimer.reset();
  if (runtime && runtime->leaked_buffers() > 0)
    spdlog::error("{} packet buffers were lost", runtime->leaked_buffers());
  runtime.reset();
}

}  // namespace

// Members are in the order of their creation. stop() and the destructor go the other way.
struct Daemon::Impl {
  Impl(HostConfig host_config, std::string config_path, std::string version_text)
      : config(std::move(host_config)),
        path(std::move(config_path)),
        version(std::move(version_text)),
        forwarding(config.fdb),
        network(io, network_options(config)) {}
  ~Impl() { stop(); }

  Result<void> start();
  Result<void> open_state();
  Result<void> put_stored_policy(StoredPorts& stored);
  Result<void> open_ports(const StoredPorts& stored);
  void start_engine();
  void arm_faults();
  void start_timers();
  void serve();
  void on_wakeup();
  void await_signal();
  void apply(Result<ConfigReload::Loaded> loaded);
  void stop();
  migration::Journal* journal() { return directory ? &directory->journal() : nullptr; }

  HostConfig config;  // in use; apply() changes some settings
  const std::string path, version;
  SteadyClock clock;
  asio::io_context io{1};
  asio::signal_set signals{io};
  Wakeup wakeup{io};
  std::unique_ptr<ControlSocket> socket;
  std::unique_ptr<StateDirectory> directory;
  Switch forwarding;
  migration::AsioNetwork network;
  std::optional<migration::Engine> engine;
  std::optional<CommandContext> context;
  PeriodicTimer collect{io}, second{io}, sync{io};
  std::optional<StateSync> state_sync;
  std::optional<Faults> faults;
  std::optional<ConfigReload> reload;
};

// The order of the start. No port is open before the policy is in the store.
Result<void> Daemon::Impl::start() {
  if (!wakeup.valid()) return fail("cannot create an eventfd");
  auto opened = ControlSocket::open(io, config.socket);
  if (!opened) return fail(opened.error());
  socket = std::move(*opened);
  auto tls = read_certificates(config);
  if (!tls) return fail(tls.error());
  network.use_certificates(*tls);
  if (*tls != nullptr) log_certificates(config, **tls);
  if (auto state = open_state(); !state) return state;
  tune_process();
  if (auto created = forwarding.create(config, wakeup); !created) return created;
  StoredPorts stored;
  if (auto put = directory ? put_stored_policy(stored) : put_policy(config, *forwarding.store);
      !put)
    return put;
  if (auto started = forwarding.runtime->start(); !started) return started;
  start_engine();
  if (auto ports = open_ports(stored); !ports) return ports;
  engine->recover();
  if (auto listening = engine->listen(); !listening) return listening;
  start_timers();
  serve();
  reload.emplace(io, path, config,
                 [this](Result<ConfigReload::Loaded> loaded) { apply(std::move(loaded)); });
  return {};
}

Result<void> Daemon::Impl::open_state() {
  if (config.state.directory.empty()) return {};
  auto opened = StateDirectory::open(config);
  if (!opened) return fail(opened.error());
  directory = std::move(*opened);
  return {};
}

// Puts the stored policy, reconciled with the file, in force before the first port opens.
Result<void> Daemon::Impl::put_stored_policy(StoredPorts& stored) {
  dataplane::PolicyStore& store = *forwarding.store;
  auto moves = directory->journal().moves();
  if (!moves) return fail(moves.error());
  for (const migration::MoveRecord& move : *moves) {
    if (migration::holds_vm(move)) stored.held_vms.insert(move.vm);
  }
  auto restored = restore(config, directory->journal(), store, false);
  if (!restored) return fail(restored.error());
  for (const std::string& note : restored->reconciled.notes) spdlog::warn("{}", note);
  store.collect_implicit();
  if (auto written = write_restored(*restored, store, directory->journal()); !written)
    return written;
  spdlog::info("state {}: {} endpoints, {} rules, {} moves to resume{}", config.state.directory,
               store.endpoints().size(), store.rule_count(), moves->size(),
               restored->reconciled.changed ? "; the configuration has been applied" : "");
  stored.endpoints = std::move(restored->reconciled.policy.endpoints);
  stored.incomplete = std::move(restored->reconciled.policy.incomplete);
  return {};
}

Result<void> Daemon::Impl::open_ports(const StoredPorts& stored) {
  PortOpening opening(config, forwarding.runtime->ports(), *forwarding.store);
  if (auto opened = opening.open_uplinks(); !opened) return opened;
  return directory ? opening.open_stored(stored) : opening.open_configured();
}

void Daemon::Impl::start_engine() {
  Runtime& runtime = *forwarding.runtime;
  engine.emplace(
      network, migration_options(config), *forwarding.store, runtime.ports(), runtime.gate(), clock,
      [](const std::string& text) { spdlog::info("{}", joined_lines(text)); }, journal());
  arm_faults();
}

void Daemon::Impl::arm_faults() {
  if (config.faults.empty()) return;
  spdlog::warn(
      "FAULT POINTS ARE SET: this switch will kill itself at {} points. They are for tests only",
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

void Daemon::Impl::start_timers() {
  collect.start(kCollectIdle, [this]() -> std::chrono::milliseconds {
    return forwarding.reclaimer->collect() > 0 ? kCollectBusy : kCollectIdle;
  });
  second.start(1s, [this] {
    forwarding.fdb.age(Runtime::now_s());
    forwarding.store->collect_implicit();
    return 1s;
  });
  if (directory && config.state.sync_ms > 0) {
    const std::chrono::milliseconds interval(config.state.sync_ms);
    state_sync.emplace(directory->journal(), config.state.directory);
    sync.start(interval, [this, interval] {
      state_sync->run();
      return interval;
    });
  }
  wakeup.watch([this] { on_wakeup(); });
}

void Daemon::Impl::serve() {
  Runtime& runtime = *forwarding.runtime;
  context.emplace(CommandContext{
      config.host, version, *forwarding.store, runtime.ports(), forwarding.fdb, *engine, journal(),
      [] { return Runtime::now_s(); }, [&runtime] { return runtime.drops(); },
      [&runtime] { return runtime.workers(); }, [&runtime] { return runtime.memory(); }});
  const AsyncRpcHandler handler = [this](const std::string& method, const nlohmann::json& params,
                                         RpcReply reply) {
    call_async(*context, method, params, std::move(reply));
  };
  socket->serve_async([handler](std::string_view line, ControlSocket::Answer answer) {
    answer_line(line, handler, std::move(answer));
  });
}

void Daemon::Impl::on_wakeup() {
  for (const dataplane::PortEvent& event : forwarding.runtime->ports().poll_events()) {
    const dataplane::EndpointRecord* owner = forwarding.store->by_port(event.port);
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
    spdlog::info("signal {}: reading {} again", signal, path);
    reload->request();
    await_signal();
  });
}

// Puts what SIGHUP has read into use. An error changes nothing.
void Daemon::Impl::apply(Result<ConfigReload::Loaded> loaded) {
  if (!loaded) {
    return spdlog::error("reload: {}; the settings and certificates from before stay in use",
                         loaded.error().message);
  }
  take_settings(config.migration, loaded->migration);
  const bool encrypted = config.migration.tls && loaded->tls != nullptr;
  engine->reload(migration_options(config));
  network.reload(network_options(config), encrypted ? loaded->tls : nullptr);
  if (encrypted) log_certificates(config, *loaded->tls);
  spdlog::info("reload: {} peers", config.migration.peers.size());
  std::string names;
  for (const std::string& name : loaded->unchanged) names += (names.empty() ? "" : ", ") + name;
  if (!names.empty()) spdlog::warn("reload: a restart is needed to change {}", names);
}

void Daemon::Impl::stop() {
  reload.reset();
  if (socket) socket->close();
  if (engine) engine->stop();
  wakeup.stop();
  context.reset();
  engine.reset();
  if (directory) (void)directory->journal().sync();
  forwarding.stop();
  directory.reset();
}

Daemon::Daemon(HostConfig config, std::string path, std::string version)
    : impl_(std::make_unique<Impl>(std::move(config), std::move(path), std::move(version))) {}
Daemon::~Daemon() = default;

Result<void> Daemon::run() {
  Impl& impl = *impl_;
  spdlog::info("godwit {} on {} starts", impl.version, impl.config.host);
  std::signal(SIGPIPE, SIG_IGN);
  for (const int signal : {SIGTERM, SIGINT, SIGHUP}) impl.signals.add(signal);
  impl.await_signal();
  if (auto started = impl.start(); !started) {
    impl.stop();
    return started;
  }
  spdlog::info("ready: {} ports, {} endpoints, {} rules, control socket {}",
               impl.forwarding.runtime->ports().list().size(),
               impl.forwarding.store->endpoints().size(), impl.forwarding.store->rule_count(),
               impl.config.socket);
  impl.io.run();
  impl.stop();
  spdlog::info("stopped");
  return {};
}

}  // namespace godwit::control
