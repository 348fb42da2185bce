// SPDX-License-Identifier: Apache-2.0
//
// The exit codes of the `godwit` command. Scripts rely on them.
#pragma once

namespace godwit::cli {

enum class ExitCode : int {
  kDone = 0,
  kRefused = 1,      // by the daemon, or a file could not be read or written
  kUsage = 2,        // the command line is wrong; nothing was sent
  kUnreachable = 3,  // no daemon, no answer in time, or a malformed answer
};

}  // namespace godwit::cli
