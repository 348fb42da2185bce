// SPDX-License-Identifier: Apache-2.0
#include "tests/sim/extras.h"

namespace godwit::sim {

namespace {

struct Named {
  std::string_view name;
  bool Extras::*member;
};
constexpr Named kNamed[] = {{"links", &Extras::links},     {"finishes", &Extras::finishes},
                            {"cancels", &Extras::cancels}, {"full", &Extras::full},
                            {"claims", &Extras::claims},   {"aimed", &Extras::aimed},
                            {"disks", &Extras::disks},     {"liar", &Extras::liar}};

}  // namespace

bool Extras::set(std::string_view name) {
  if (name == "runs") return links = finishes = cancels = full = true;
  for (const Named& extra : kNamed) {
    if (extra.name == name) return this->*extra.member = true;
  }
  return false;
}

std::string Extras::arguments() const {
  std::string out;
  for (const Named& extra : kNamed) {
    if (this->*extra.member) out += " --also " + std::string(extra.name);
  }
  return out;
}

}  // namespace godwit::sim
