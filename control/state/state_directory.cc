// SPDX-License-Identifier: Apache-2.0
#include "control/state/state_directory.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace godwit::control {

std::string journal_path(const HostConfig& config) {
  return config.state.directory + "/state.sqlite";
}

Error directory_error(const StateConfig& state, const std::string& what) {
  return Error{to_text(state.place) + ": state directory " + state.directory + what};
}

Result<void> StateDirectory::lock(const StateConfig& state) {
  const std::string path = state.directory + "/lock";
  lock_ = ::open(path.c_str(), O_CREAT | O_RDWR | O_CLOEXEC, 0600);
  if (lock_ < 0) return fail(directory_error(state, std::string(": ") + std::strerror(errno)));
  if (flock(lock_, LOCK_EX | LOCK_NB) != 0) {
    char pid[32]{};
    const ssize_t length = pread(lock_, pid, sizeof pid - 1, 0);
    const std::string who = length > 0 ? " (pid " + std::string(pid, strcspn(pid, "\n")) + ")" : "";
    return fail(directory_error(
        state, " is another daemon's" + who + ": each daemon needs its own directory"));
  }
  const std::string pid = std::to_string(getpid()) + "\n";
  if (ftruncate(lock_, 0) != 0 || pwrite(lock_, pid.data(), pid.size(), 0) < 0)
    return fail(to_text(state.place) + ": " + path + ": " + std::strerror(errno));
  return {};
}

Result<std::unique_ptr<StateDirectory>> StateDirectory::open(const HostConfig& config) {
  const StateConfig& state = config.state;
  if (mkdir(state.directory.c_str(), 0700) != 0 && errno != EEXIST)
    return fail(directory_error(state, std::string(": ") + std::strerror(errno)));
  std::unique_ptr<StateDirectory> made(new StateDirectory);
  if (auto locked = made->lock(state); !locked) return fail(locked.error());
  auto journal =
      migration::SqliteJournal::open(journal_path(config), {config.host, state.sync_ms > 0});
  if (!journal) return fail(journal.error());
  made->journal_ = std::move(*journal);
  return made;
}

StateDirectory::~StateDirectory() {
  journal_.reset();
  if (lock_ >= 0) close(lock_);
}

}  // namespace godwit::control
