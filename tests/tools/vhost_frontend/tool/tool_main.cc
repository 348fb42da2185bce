// SPDX-License-Identifier: Apache-2.0
//
// vhost-frontend: front-ends for tests, controlled by lines on standard input.
// command_interpreter.h describes the language, vhost_frontend.h the front-ends. The program ends
// on `quit`, at the end of its input, or after --lifetime seconds (default 3600).
#include <cerrno>
#include <charconv>
#include <cstdio>
#include <cstring>
#include <iostream>
#include <string>

#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "tests/tools/vhost_frontend/tool/command_interpreter.h"

namespace {

using namespace godwit::vhost_frontend;

constexpr size_t kMaxLine = size_t{4} << 20;
constexpr int64_t kSecondNs = 1'000'000'000;

// Appends the available input. Returns false at the end of the input or if a line is too long.
bool read_input(std::string* buffer) {
  char part[65536];
  const ssize_t got = read(STDIN_FILENO, part, sizeof(part));
  if (got < 0) {
    return errno == EAGAIN || errno == EINTR;
  }
  buffer->append(part, static_cast<size_t>(got));
  return got > 0 && buffer->size() <= kMaxLine;
}

void run_lines(CommandInterpreter& interpreter, std::string* buffer) {
  for (size_t end = buffer->find('\n'); end != std::string::npos && !interpreter.quit();
       end = buffer->find('\n')) {
    const std::string line = buffer->substr(0, end);
    buffer->erase(0, end + 1);
    if (line.find_first_not_of(" \t\r") != std::string::npos) {
      std::cout << interpreter.run(line).dump() << std::endl;
    }
  }
}

bool parse_lifetime(int argc, char** argv, int64_t* seconds) {
  if (argc == 1) {
    return true;
  }
  if (argc != 3 || std::strcmp(argv[1], "--lifetime") != 0) {
    return false;
  }
  const char* end = argv[2] + std::strlen(argv[2]);
  return std::from_chars(argv[2], end, *seconds).ptr == end && *seconds > 0 && *seconds <= 86400;
}

// Hundreds of devices need about ten descriptors each.
void raise_descriptor_limit() {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
  }
}

}  // namespace

int main(int argc, char** argv) {
  int64_t lifetime_s = 3600;
  if (!parse_lifetime(argc, argv, &lifetime_s)) {
    std::cerr
        << "usage: vhost-frontend [--lifetime SECONDS]   commands on standard input; try `help`\n";
    return 2;
  }
  raise_descriptor_limit();
  prctl(PR_SET_TIMERSLACK, 1000UL, 0UL, 0UL, 0UL);
  fcntl(STDIN_FILENO, F_SETFL, fcntl(STDIN_FILENO, F_GETFL) | O_NONBLOCK);
  Engine engine;
  Status status = engine.open();
  if (status.ok()) {
    status = engine.watch_input(STDIN_FILENO);
  }
  if (!status.ok()) {
    std::cerr << status.error() << "\n";
    return 1;
  }
  CommandInterpreter interpreter(engine);
  std::string buffer;
  const int64_t end_ns = monotonic_ns() + lifetime_s * kSecondNs;
  while (!interpreter.quit() && monotonic_ns() < end_ns) {
    if (engine.turn(kSecondNs)) {
      const bool open = read_input(&buffer);
      run_lines(interpreter, &buffer);
      if (!open) {
        break;
      }
    }
  }
  return 0;
}
