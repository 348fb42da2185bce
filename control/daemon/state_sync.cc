// SPDX-License-Identifier: Apache-2.0
#include "control/daemon/state_sync.h"

#include <spdlog/spdlog.h>

namespace godwit::control {

void StateSync::run() {
  if (!journal_.unsynced()) return;
  const bool synced = static_cast<bool>(journal_.sync());
  if (synced != synced_) {
    if (synced) {
      spdlog::info("state {}: synced again", directory_);
    } else {
      spdlog::error(
          "state {}: cannot be synced; the changes of commands may not survive a loss of power",
          directory_);
    }
  }
  synced_ = synced;
}

}  // namespace godwit::control
