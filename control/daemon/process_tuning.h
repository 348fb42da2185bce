// SPDX-License-Identifier: Apache-2.0
//
// Settings of the process that keep the control thread and the workers from waiting for a CPU.
//
// Workers sleep, and the control thread decides within a VM's blackout: both must return to their
// CPU at once when guests use it too.
//
// Thread safety: once, before any other thread is created. Threads inherit the settings.
#pragma once

namespace godwit::control {

// Sets a better nice level, the shortest time slice and no transparent huge pages. Logs a warning
// for a setting that the system does not permit.
void tune_process();

}  // namespace godwit::control
