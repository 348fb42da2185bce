// SPDX-License-Identifier: Apache-2.0
#include "control/daemon/config_reload.h"

#include <sys/resource.h>
#include <unistd.h>

#include <asio/post.hpp>
#include <exception>
#include <utility>

#include "base/text.h"
#include "control/config/config_reader.h"
#include "control/config/reload_settings.h"

namespace godwit::control {
namespace {

Result<ConfigReload::Loaded> load(const std::string& path, const HostConfig& in_use) {
  auto config = read_config(path);
  if (!config) return fail(config.error());
  if (config->host != in_use.host) {
    return fail(path + ": it is for the host " + printable(config->host) + ", expected " +
                in_use.host);
  }
  auto tls = read_certificates(*config);
  if (!tls) return fail(tls.error());
  return ConfigReload::Loaded{config->migration, std::move(*tls),
                              settings_for_restart(in_use, *config)};
}

// Nothing waits for the reader, so it yields to the threads that forward and decide.
void yield_to_others() { (void)setpriority(PRIO_PROCESS, static_cast<id_t>(gettid()), 0); }

}  // namespace

ConfigReload::~ConfigReload() {
  if (reader_.joinable()) reader_.join();
}

void ConfigReload::request() {
  if (reader_.joinable()) {
    again_ = true;
    return;
  }
  reader_ = std::thread([this, watch = std::weak_ptr<int>(alive_)] {
    yield_to_others();
    auto loaded = std::make_shared<Result<Loaded>>(fail(path_ + ": cannot be read again"));
    try {
      *loaded = load(path_, in_use_);
    } catch (const std::exception& defect) {  // such as no memory
      *loaded = fail(path_ + ": " + defect.what());
    }
    asio::post(io_, [this, watch, loaded] {
      if (!watch.expired()) finish(std::move(*loaded));
    });
  });
}

void ConfigReload::finish(Result<Loaded> loaded) {
  reader_.join();
  done_(std::move(loaded));
  if (std::exchange(again_, false)) request();
}

}  // namespace godwit::control
