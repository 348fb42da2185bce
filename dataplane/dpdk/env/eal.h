// SPDX-License-Identifier: Apache-2.0
//
// EAL, DPDK's environment: starts it with arguments made from RuntimeOptions, passes its log to
// ours, and turns its failures into messages.
//
// lcore 0 is the thread that starts EAL, the control thread. lcore i + 1 is worker i, pinned to its
// CPU. The only files written are those of EAL's runtime directory, which is removed at the end.
//
// Thread safety: the control thread only. The log callback is called by any thread.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "dataplane/dpdk/env/runtime_options.h"

namespace godwit::dataplane {

class Eal {
 public:
  static constexpr unsigned lcore_of(uint16_t worker) { return worker + 1u; }

  static Result<std::unique_ptr<Eal>> start(const RuntimeOptions& options,
                                            const std::vector<uint16_t>& worker_cpus);
  ~Eal();
  Eal(const Eal&) = delete;
  Eal& operator=(const Eal&) = delete;

  void log(RuntimeLogLevel level, const std::string& line) const;
  // DPDK explains a failure in its log only. first_error() returns the first error logged since
  // forget_errors(), or an empty string.
  void forget_errors();
  [[nodiscard]] std::string first_error() const;

 private:
  struct LogSink;
  Eal();
  std::unique_ptr<LogSink> sink_;
  std::string runtime_dir_;  // removed by the destructor; empty if EAL did not start
};

// Returns the arguments that start() passes to EAL. `allowed_cpus` are those that the process may
// run on.
std::vector<std::string> eal_arguments(const RuntimeOptions& options,
                                       const std::vector<uint16_t>& worker_cpus,
                                       const std::vector<uint16_t>& allowed_cpus);

}  // namespace godwit::dataplane
