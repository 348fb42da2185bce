// SPDX-License-Identifier: Apache-2.0
//
// godwitd --config FILE [--check | --forget-lost] | --version | --help
#include <getopt.h>
#include <spdlog/sinks/stdout_color_sinks.h>
#include <spdlog/spdlog.h>

#include <cstdio>
#include <string>

#include "control/config/config.h"
#include "control/daemon/daemon.h"
#include "control/daemon/peer_setup.h"
#include "control/state/stored_state.h"

namespace {

constexpr int kDone = 0, kFailed = 1, kUsage = 2;

constexpr const char* kHelp =
    "usage: godwitd --config FILE [--check | --forget-lost]\n"
    "       godwitd --version\n"
    "\n"
    "  --config FILE  run in the foreground by this configuration, log to stderr; SIGTERM and "
    "SIGINT end it,\n"
    "                 SIGHUP has it read the certificates again\n"
    "  --check        only check the configuration and its certificates: 0 good, 1 not, with "
    "FILE:LINE:COL: what\n"
    "                 With a state directory also whether what is stored there goes with it\n"
    "  --forget-lost  forget what is stored and can no longer be restored, and print it; starts "
    "nothing\n"
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

int refuse(const godwit::Error& error) {
  std::fprintf(stderr, "%s\n", error.message.c_str());
  return kFailed;
}

}  // namespace

int main(int argc, char** argv) {
  Options options;
  if (!read_options(argc, argv, options)) {
    std::fputs(kHelp, stderr);
    return kUsage;
  }
  if (options.help) return std::fputs(kHelp, stdout) < 0 ? kFailed : kDone;
  if (options.version) return std::printf("godwitd %s\n", GODWIT_VERSION) < 0 ? kFailed : kDone;

  auto config = godwit::control::read_config(options.config);
  if (!config) return refuse(config.error());
  if (options.check) {
    if (auto good = godwit::control::check_policy(*config); !good) return refuse(good.error());
    if (auto good = godwit::control::check_certificates(*config); !good)
      return refuse(good.error());
    auto notes = godwit::control::check_state(*config);
    if (!notes) return refuse(notes.error());
    for (const std::string& note : *notes) std::printf("note: %s\n", note.c_str());
    return kDone;
  }
  if (options.forget) {
    auto lost = godwit::control::forget_lost(*config);
    if (!lost) return refuse(lost.error());
    for (const std::string& one : *lost) std::printf("forgotten: %s\n", one.c_str());
    return kDone;
  }
  spdlog::set_default_logger(spdlog::stderr_color_mt("godwitd"));
  spdlog::set_pattern("%Y-%m-%dT%H:%M:%S.%f %l %v");
  spdlog::flush_on(spdlog::level::info);
  godwit::control::Daemon daemon(std::move(*config), GODWIT_VERSION);
  if (auto ran = daemon.run(); !ran) {
    spdlog::error("{}", ran.error().message);
    return kFailed;
  }
  return kDone;
}
