// SPDX-License-Identifier: Apache-2.0
//
// EAL: its arguments made from RuntimeOptions, its log brought to ours, its errors said in words.
//
// lcore 0 is the thread that starts EAL (control); lcore i + 1 is worker i, pinned to its CPU.
// Nothing is written to the file system but EAL's runtime directory, which goes with the process.
//
// Thread safety: the control thread's. The log callback is called from any thread.
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
  // DPDK says why something failed in its log only. The first error that it has logged since
  // forget_errors(), or empty.
  void forget_errors();
  [[nodiscard]] std::string first_error() const;

 private:
  struct LogSink;
  Eal();
  std::unique_ptr<LogSink> sink_;
  std::string runtime_dir_;  // to be removed; empty: EAL did not start
};

// The arguments, for start() and its tests.
std::vector<std::string> eal_arguments(const RuntimeOptions& options,
                                       const std::vector<uint16_t>& worker_cpus,
                                       const std::vector<uint16_t>& allowed_cpus);

}  // namespace godwit::dataplane
