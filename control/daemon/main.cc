// SPDX-License-Identifier: Apache-2.0
//
// godwitd --config FILE [--check | --forget-lost] | --version | --help
#include <getopt.h>
#include <spdlog/sinks/stdout_color_sinks.h>
#include <spdlog/spdlog.h>

#include <cstdio>
#include <string>

#include "control/config/config_policy.h"
#include "control/config/config_reader.h"
#include "control/daemon/daemon.h"
#include "control/daemon/peer_certificates.h"
#include "control/state/restore.h"

namespace {

using godwit::control::HostConfig;

constexpr int kDone = 0, kFailed = 1, kUsage = 2;

constexpr const char* kHelp =
    "usage: godwitd --config FILE [--check | --forget-lost]\n"
    "       godwitd --version\n"
    "\n"
    "  --config FILE  run in the foreground with this configuration and log to stderr. SIGTERM "
    "and\n"
    "                 SIGINT stop the daemon; SIGHUP makes it read the file again: peers, limits "
    "and\n"
    "                 certificates change at once\n"
    "  --check        check the configuration, its certificates and the stored state, and start\n"
    "                 nothing. Exit code 0: good; 1: not good, with FILE:LINE:COL: what\n"
    "  --forget-lost  remove from the stored state what can no longer be restored, print it, and\n"
    "                 start nothing\n"
    "  --version      print the version\n";

struct Options {
  std::string config;
  bool check = false, forget = false, version = false, help = false;
};

bool read_options(int argc, char** argv, Options& out) {
  const option known[] = {
      {"config", required_argument, nullptr, 'c'}, {"check", no_argument, nullptr, 'k'},
      {"forget-lost", no_argument, nullptr, 'f'},  {"version", no_argument, nullptr, 'v'},
      {"help", no_argument, nullptr, 'h'},         {nullptr, 0, nullptr, 0}};
  int option = 0;
  while ((option = getopt_long(argc, argv, "c:h", known, nullptr)) != -1) {
    switch (option) {
      case 'c': out.config = optarg; break;
      case 'k': out.check = true; break;
      case 'f': out.forget = true; break;
      case 'v': out.version = true; break;
      case 'h': out.help = true; break;
      default: return false;
    }
  }
  return optind == argc && !(out.check && out.forget) &&
         (out.version || out.help || !out.config.empty());
}

int print(const std::string& text) {
  return std::fputs(text.c_str(), stdout) < 0 ? kFailed : kDone;
}

int refuse(const godwit::Error& error) {
  std::fprintf(stderr, "%s\n", error.message.c_str());
  return kFailed;
}

int check(const HostConfig& config) {
  if (auto good = godwit::control::check_policy(config); !good) return refuse(good.error());
  if (auto good = godwit::control::check_certificates(config); !good) return refuse(good.error());
  auto notes = godwit::control::check_state(config);
  if (!notes) return refuse(notes.error());
  for (const std::string& note : *notes) std::printf("note: %s\n", note.c_str());
  return kDone;
}

int forget(const HostConfig& config) {
  auto lost = godwit::control::forget_lost(config);
  if (!lost) return refuse(lost.error());
  for (const std::string& one : *lost) std::printf("forgotten: %s\n", one.c_str());
  return kDone;
}

int run(HostConfig config, const std::string& path) {
  spdlog::set_default_logger(spdlog::stderr_color_mt("godwitd"));
  spdlog::set_pattern("%Y-%m-%dT%H:%M:%S.%f %l %v");
  spdlog::flush_on(spdlog::level::info);
  godwit::control::Daemon daemon(std::move(config), path, GODWIT_VERSION);
  if (auto ran = daemon.run(); !ran) {
    spdlog::error("{}", ran.error().message);
    return kFailed;
  }
  return kDone;
}

}  // namespace

int main(int argc, char** argv) {
  Options options;
  if (!read_options(argc, argv, options)) {
    std::fputs(kHelp, stderr);
    return kUsage;
  }
  if (options.help) return print(kHelp);
  if (options.version) return print(std::string("godwitd ") + GODWIT_VERSION + "\n");
  auto config = godwit::control::read_config(options.config);
  if (!config) return refuse(config.error());
  if (options.check) return check(*config);
  if (options.forget) return forget(*config);
  return run(std::move(*config), options.config);
}
