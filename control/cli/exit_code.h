// SPDX-License-Identifier: Apache-2.0
//
// The exit codes of the `godwit` command. Scripts rely on them, so a value never changes.
#pragma once

namespace godwit::cli {

enum class ExitCode : int {
  kDone = 0,
  // The daemon refused the command, or the client could not read or write a file.
  kRefused = 1,
  // The command line is wrong. The client sent nothing.
  kUsage = 2,
  // The client reached no daemon, or had no answer in time, or had a malformed answer.
  kUnreachable = 3,
};

}  // namespace godwit::cli
