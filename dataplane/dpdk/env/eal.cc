// SPDX-License-Identifier: Apache-2.0
#include "dataplane/dpdk/env/eal.h"

#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_lcore.h>
#include <rte_log.h>
#include <sys/resource.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <mutex>
#include <set>
#include <utility>

#include "dataplane/dpdk/env/placement.h"

namespace godwit::dataplane {
namespace {

// As the only entry of the allow-list it keeps EAL from probing devices that were not asked for.
constexpr const char* kUnusedPciAddress = "ffff:ff:1f.7";

std::string join(const auto& numbers) {
  std::string out;
  for (const auto number : numbers) out += (out.empty() ? "" : ",") + std::to_string(number);
  return out;
}

// Returns the CPUs of the control thread: all that no worker uses. If that is a single CPU, which
// another process may be polling on, returns all CPUs, so that the kernel can choose the idlest.
std::vector<uint16_t> control_cpus(const std::vector<uint16_t>& workers,
                                   const std::vector<uint16_t>& allowed) {
  std::vector<uint16_t> left;
  for (const uint16_t cpu : allowed) {
    if (std::find(workers.begin(), workers.end(), cpu) == workers.end()) left.push_back(cpu);
  }
  return left.size() >= 2 ? left : allowed;
}

std::string file_prefix(const RuntimeOptions& options) {
  return options.file_prefix.empty() ? "godwit-" + options.host : options.file_prefix;
}

// Returns the megabytes of free huge pages of all sizes on a node.
uint64_t free_huge_mb(int node) {
  uint64_t total_kb = 0;
  std::error_code error;
  const std::string dir = "/sys/devices/system/node/node" + std::to_string(node) + "/hugepages";
  for (const auto& entry : std::filesystem::directory_iterator(dir, error)) {
    const std::string name = entry.path().filename();  // hugepages-2048kB
    const size_t dash = name.find('-');
    uint64_t pages = 0;
    std::ifstream(entry.path() / "free_hugepages") >> pages;
    if (dash != std::string::npos)
      total_kb += pages * std::strtoull(name.c_str() + dash + 1, nullptr, 10);
  }
  return total_kb / 1024;
}

Result<void> check_hugepages(const RuntimeOptions& options, const std::set<int>& nodes) {
  for (const int node : nodes) {
    const uint64_t free_mb = free_huge_mb(node);
    if (free_mb >= options.socket_mb) continue;
    return fail("NUMA node " + std::to_string(node) + " has " + std::to_string(free_mb) +
                " MB of free huge pages and memory.socket_mb asks for " +
                std::to_string(options.socket_mb) +
                ": raise /proc/sys/vm/nr_hugepages, or set memory.hugepages to false");
  }
  return {};
}

RuntimeLogLevel level_of(int dpdk_level) {
  if (dpdk_level <= static_cast<int>(RTE_LOG_ERR)) return RuntimeLogLevel::kError;
  if (dpdk_level <= static_cast<int>(RTE_LOG_WARNING)) return RuntimeLogLevel::kWarning;
  if (dpdk_level <= static_cast<int>(RTE_LOG_INFO)) return RuntimeLogLevel::kInfo;
  return RuntimeLogLevel::kDebug;
}

// A vhost port has a dozen descriptors: its socket, its guest's memory, and two for each ring.
void raise_descriptor_limit() {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
}

std::string runtime_dir(const RuntimeOptions& options) {
  const char* base = std::getenv("RUNTIME_DIRECTORY");
  return std::string(base != nullptr ? base : "/var/run") + "/dpdk/" + file_prefix(options);
}

}  // namespace

// Joins the pieces that DPDK writes to a stream into lines for the callback.
struct Eal::LogSink {
  std::function<void(RuntimeLogLevel, std::string_view)> callback;
  FILE* stream = nullptr;
  std::mutex mutex;
  std::string partial;      // protected by mutex
  std::string first_error;  // protected by mutex

  void line(RuntimeLogLevel level, std::string_view text) const {
    if (callback) {
      callback(level, text);
    } else {
      std::fprintf(stderr, "%.*s\n", static_cast<int>(text.size()), text.data());
    }
  }

  static ssize_t write(void* cookie, const char* bytes, size_t size) {
    auto* self = static_cast<LogSink*>(cookie);
    const RuntimeLogLevel level = level_of(rte_log_cur_msg_loglevel());
    const std::lock_guard lock(self->mutex);
    self->partial.append(bytes, size);
    for (size_t end = self->partial.find('\n'); end != std::string::npos;
         end = self->partial.find('\n')) {
      const std::string text = self->partial.substr(0, end);
      self->partial.erase(0, end + 1);
      if (text.empty()) continue;
      // librte_vhost logs an error when a front-end leaves or is refused, which is normal.
      const bool peer_went =
          level == RuntimeLogLevel::kError && text.find("VHOST_CONFIG") != text.npos;
      if (level == RuntimeLogLevel::kError && self->first_error.empty()) self->first_error = text;
      self->line(peer_went ? RuntimeLogLevel::kWarning : level, text);
    }
    return static_cast<ssize_t>(size);
  }
};

Eal::Eal() : sink_(std::make_unique<LogSink>()) {}

std::vector<std::string> eal_arguments(const RuntimeOptions& options,
                                       const std::vector<uint16_t>& worker_cpus,
                                       const std::vector<uint16_t>& allowed) {
  std::string lcores = "0@(" + join(control_cpus(worker_cpus, allowed)) + ")";
  std::set<int> nodes;
  for (uint16_t worker = 0; worker < worker_cpus.size(); ++worker) {
    lcores +=
        "," + std::to_string(Eal::lcore_of(worker)) + "@" + std::to_string(worker_cpus[worker]);
    nodes.insert(node_of_cpu(worker_cpus[worker]));
  }
  std::vector<std::string> args{"godwit",       "--lcores", lcores,
                                "--main-lcore", "0",        "--no-telemetry"};
  args.insert(args.end(), {"--file-prefix", file_prefix(options)});
  if (options.hugepages) {
    std::vector<uint32_t> per_node;
    for (int node = 0; node <= *nodes.rbegin(); ++node)
      per_node.push_back(nodes.contains(node) ? options.socket_mb : 0);
    args.insert(args.end(), {"--in-memory", "--socket-mem", join(per_node)});
  } else {
    args.insert(args.end(), {"--no-huge", "--no-shconf", "-m",
                             std::to_string(options.socket_mb * nodes.size())});
  }
  if (options.pci) {
    args.insert(args.end(), {"--allow", kUnusedPciAddress});
  } else {
    args.emplace_back("--no-pci");
  }
  return args;
}

Result<std::unique_ptr<Eal>> Eal::start(const RuntimeOptions& options,
                                        const std::vector<uint16_t>& worker_cpus) {
  if (worker_cpus.size() + 1 > RTE_MAX_LCORE) {
    return fail("this build of DPDK supports at most " + std::to_string(RTE_MAX_LCORE - 1) +
                " workers, and " + std::to_string(worker_cpus.size()) + " are configured");
  }
  std::set<int> nodes;
  for (const uint16_t cpu : worker_cpus) nodes.insert(node_of_cpu(cpu));
  if (options.hugepages) {
    if (auto enough = check_hugepages(options, nodes); !enough) return fail(enough.error());
  }
  raise_descriptor_limit();
  std::unique_ptr<Eal> eal(new Eal);
  LogSink& sink = *eal->sink_;
  sink.callback = options.log;
  sink.stream = fopencookie(
      &sink, "w", {.read = nullptr, .write = LogSink::write, .seek = nullptr, .close = nullptr});
  if (sink.stream == nullptr) return fail("no memory for the log stream");
  setvbuf(sink.stream, nullptr, _IOLBF, 1024);
  rte_openlog_stream(sink.stream);
  rte_log_set_global_level(RTE_LOG_WARNING);
  // librte_vhost logs each message and each attempt to connect. Port events report what matters.
  rte_log_set_level_pattern("lib.vhost.*", RTE_LOG_ERR);
  // EAL warns of page sizes that are not used.
  rte_log_set_level_pattern("lib.eal", RTE_LOG_ERR);

  const std::vector<std::string> args = eal_arguments(options, worker_cpus, allowed_cpus());
  std::vector<char*> argv;
  for (const std::string& arg : args) argv.push_back(const_cast<char*>(arg.c_str()));
  argv.push_back(nullptr);
  if (rte_eal_init(static_cast<int>(args.size()), argv.data()) < 0) {
    const std::string why = eal->first_error();
    return fail(std::string("DPDK cannot start: ") + rte_strerror(rte_errno) +
                (why.empty() ? "" : " (" + why + ")"));
  }
  eal->runtime_dir_ = runtime_dir(options);
  return eal;
}

Eal::~Eal() {
  rte_eal_cleanup();
  rte_openlog_stream(nullptr);
  if (sink_->stream != nullptr) fclose(sink_->stream);
  if (runtime_dir_.empty()) return;
  std::error_code ignored;
  for (const auto& entry : std::filesystem::directory_iterator(runtime_dir_, ignored)) {
    if (entry.is_regular_file(ignored)) std::filesystem::remove(entry.path(), ignored);
  }
  std::filesystem::remove(runtime_dir_, ignored);
}

void Eal::forget_errors() {
  const std::lock_guard lock(sink_->mutex);
  sink_->first_error.clear();
}

std::string Eal::first_error() const {
  const std::lock_guard lock(sink_->mutex);
  return sink_->first_error;
}

void Eal::log(RuntimeLogLevel level, const std::string& line) const { sink_->line(level, line); }

}  // namespace godwit::dataplane
