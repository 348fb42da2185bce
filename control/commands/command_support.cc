// SPDX-License-Identifier: Apache-2.0
#include "control/commands/command_support.h"

#include <algorithm>

#include "base/net.h"
#include "control/commands/commands.h"
#include "dataplane/policy/policy_store.h"
#include "dataplane/ports.h"
#include "migration/engine/engine.h"
#include "migration/journal/journal.h"

namespace godwit::control {

void refuse(std::string message, std::string token, std::string expected) {
  refuse(Error{std::move(message), 0, 0, std::move(token), std::move(expected)});
}
void refuse(Error error) { throw Refusal{kRefused, std::move(error)}; }

Token WordReader::next(const std::string& expected) {
  if (more()) return words_[next_++];
  throw Refusal{kInvalidParams, Error{"the line ends too early", 0,
                                      static_cast<uint32_t>(line_.size() + 1), "", expected}};
}

void WordReader::wrong(const Token& word, const std::string& message, const std::string& expected) {
  throw Refusal{kInvalidParams, Error{message, 0, word.column, printable(word.text), expected}};
}

uint64_t WordReader::number(const Token& word, uint64_t most) const {
  const auto value = to_number(word.text, most);
  if (!value) wrong(word, "bad number", "a number up to " + std::to_string(most));
  return *value;
}

void WordReader::end() {
  if (more()) wrong(words_[next_], "unexpected word", "the end of the line");
}

std::string WordReader::rest() {
  if (!more()) return {};
  const size_t begin = words_[next_].column - 1;
  next_ = words_.size();
  return std::string(line_.substr(begin));
}

Params::Params(const Json& params, std::initializer_list<std::string_view> known)
    : params_(params) {
  for (const auto& [name, value] : params.items()) {
    if (std::ranges::find(known, name) == known.end())
      wrong("the parameter \"" + printable(name) + "\" is not known");
  }
}

void Params::wrong(const std::string& what) { throw Refusal{kInvalidParams, Error{what}}; }

const Json& Params::raw(const char* name) const {
  const auto found = params_.find(name);
  if (found == params_.end()) wrong(std::string("the parameter \"") + name + "\" is missing");
  return *found;
}

std::string Params::text(const char* name) const {
  const Json& value = raw(name);
  if (!value.is_string()) wrong(std::string("\"") + name + "\" must be a string");
  return value.get<std::string>();
}

std::string Params::text_or(const char* name, const char* otherwise) const {
  return has(name) ? text(name) : otherwise;
}

namespace {

uint64_t unsigned_number(const char* name, const Json& value, uint64_t least, uint64_t most) {
  const bool natural =
      value.is_number_unsigned() || (value.is_number_integer() && value.get<int64_t>() >= 0);
  if (!natural || value.get<uint64_t>() < least || value.get<uint64_t>() > most) {
    Params::wrong(std::string("\"") + name + "\" must be a number from " + std::to_string(least) +
                  " to " + std::to_string(most));
  }
  return value.get<uint64_t>();
}

const Json& list(const char* name, const Json& value) {
  if (!value.is_array()) Params::wrong(std::string("\"") + name + "\" must be a list");
  return value;
}

}  // namespace

uint64_t Params::number(const char* name, uint64_t least, uint64_t most) const {
  return unsigned_number(name, raw(name), least, most);
}

std::string Params::port(const char* name) const {
  const Json& value = raw(name);
  if (value.is_string()) return value.get<std::string>();
  if (value.is_number_integer())
    return std::to_string(unsigned_number(name, value, 0, PortId{}.value - 1u));
  wrong(std::string("\"") + name + "\" must be a port's number or an endpoint's name");
}

std::vector<std::string> Params::texts(const char* name) const {
  std::vector<std::string> out;
  for (const Json& value : list(name, raw(name))) {
    if (!value.is_string()) wrong(std::string("\"") + name + "\" must be a list of strings");
    out.push_back(value.get<std::string>());
  }
  return out;
}

std::vector<uint64_t> Params::numbers(const char* name, uint64_t most) const {
  std::vector<uint64_t> out;
  for (const Json& value : list(name, raw(name)))
    out.push_back(unsigned_number(name, value, 0, most));
  return out;
}

namespace {

bool is_number(std::string_view text) {
  return !text.empty() && std::ranges::all_of(text, [](char c) { return c >= '0' && c <= '9'; });
}

[[noreturn]] void no_such_port(const std::string& port) {
  refuse("there is no port " + printable(port), printable(port),
         "a port's number or an endpoint's name (`show endpoints`)");
}

}  // namespace

void commit(const Context& context, dataplane::Transaction& transaction,
            const std::function<void(migration::JournalBatch& batch)>& note) {
  if (context.journal != nullptr && context.journal->keeps_policy()) {
    migration::JournalBatch batch;
    note(batch);
    if (auto written = context.journal->write(batch); !written)
      refuse("it cannot be stored, so it is not done: " + written.error().message);
  }
  transaction.commit();
}

const dataplane::EndpointRecord& find_endpoint(const Context& context, const std::string& port) {
  if (!is_number(port)) {
    const dataplane::EndpointRecord* found = context.store.find(port);
    if (found == nullptr)
      refuse("no such endpoint", printable(port),
             "a port's number or an endpoint's name (`show endpoints`)");
    return *found;
  }
  const auto number = to_number(port, PortId{}.value - 1u);
  const dataplane::EndpointRecord* found =
      number ? context.store.by_port(PortId(static_cast<uint16_t>(*number))) : nullptr;
  if (found == nullptr) no_such_port(port);
  return *found;
}

PortId find_port(const Context& context, const std::string& port) {
  if (is_number(port)) {
    const auto number = to_number(port, PortId{}.value - 1u);
    if (!number || !context.ports.info(PortId(static_cast<uint16_t>(*number)))) no_such_port(port);
    return PortId(static_cast<uint16_t>(*number));
  }
  const dataplane::EndpointRecord& found = find_endpoint(context, port);
  if (!found.port.valid()) refuse(found.profile.name + " has no port here", printable(port));
  return found.port;
}

std::vector<dataplane::PortInfo> find_ports(const Context& context, const Params& params) {
  const std::string port = params.has("port") ? params.port("port") : "all";
  if (port == "all") return context.ports.list();
  return {take(context.ports.info(find_port(context, port)))};
}

void refuse_if_moving(const Context& context, std::string_view endpoint) {
  const std::string vm(dataplane::vm_of(endpoint));
  if (context.engine.moving(vm))
    refuse(vm + " is moving to or from another host", printable(endpoint));
}

std::string location_text(const Context& context, const dataplane::Location& location) {
  switch (location.kind) {
    case dataplane::LocationKind::kPort: return "port " + std::to_string(location.port.value);
    case dataplane::LocationKind::kUplink: {
      const dataplane::EndpointRecord* uplink = context.store.endpoint(location.uplink);
      return "uplink " + (uplink == nullptr ? std::string("?") : uplink->profile.name);
    }
    case dataplane::LocationKind::kParked: return "parked";
    case dataplane::LocationKind::kRedirect: return "redirect";
    case dataplane::LocationKind::kNone: break;
  }
  return "none";
}

bool put_profile_option(Json& params, std::string_view key, const Token& value) {
  const auto number = [&](uint64_t most) {
    const auto read = to_number(value.text, most);
    if (!read) WordReader::wrong(value, "bad number", "a number up to " + std::to_string(most));
    return *read;
  };
  if (key == "mac") {
    params["macs"].push_back(value.text);
  } else if (key == "ip") {
    params["ips"].push_back(value.text);
  } else if (key == "vlan") {
    params["vlans"].push_back(number(4094));
  } else if (key == "mtu") {
    params["mtu"] = number(9216);
  } else if (key == "queues") {
    params["queues"] = number(16);
  } else if (key == "miss") {
    params["miss"] = value.text;
  } else {
    return false;
  }
  return true;
}

void change_profile(const Params& params, dataplane::Profile& profile) {
  constexpr size_t kMostAddresses = 256;
  const auto parse = [](const std::string& text, auto parser, const char* expected) {
    auto parsed = parser(text);
    if (!parsed) refuse("bad address", printable(text), expected);
    return *parsed;
  };
  if (params.has("macs")) {
    profile.macs.clear();
    for (const std::string& text : params.texts("macs"))
      profile.macs.push_back(parse(text, parse_mac, "a MAC address"));
  }
  if (params.has("ips")) {
    profile.ipv4s.clear();
    profile.ipv6s.clear();
    for (const std::string& text : params.texts("ips")) {
      if (text.find(':') == std::string::npos) {
        profile.ipv4s.push_back(parse(text, parse_ipv4, "an IPv4 or IPv6 address"));
      } else {
        profile.ipv6s.push_back(parse(text, parse_ipv6, "an IPv4 or IPv6 address"));
      }
    }
  }
  if (params.has("vlans")) {
    profile.vlans.clear();
    for (const uint64_t vlan : params.numbers("vlans", 4094))
      profile.vlans.push_back(static_cast<uint16_t>(vlan));
  }
  if (std::max({profile.macs.size(), profile.ipv4s.size(), profile.ipv6s.size()}) >
          kMostAddresses ||
      profile.vlans.size() > 4095) {
    refuse("too many addresses: at most " + std::to_string(kMostAddresses) + " of a kind");
  }
  if (params.has("mtu")) profile.mtu = static_cast<uint16_t>(params.number("mtu", 68, 9216));
  if (params.has("queues")) profile.queues = static_cast<uint16_t>(params.number("queues", 1, 16));
  if (params.has("miss")) {
    const std::string miss = params.text("miss");
    if (miss != "normal" && miss != "drop")
      refuse("bad miss policy", printable(miss), "normal or drop");
    profile.miss = miss == "drop" ? dataplane::MissPolicy::kDrop : dataplane::MissPolicy::kNormal;
  }
}

Json read_nothing(WordReader& words) {
  words.end();
  return Json::object();
}

Json read_port(WordReader& words) {
  Json params{{"port", words.text("a port's number or an endpoint's name")}};
  words.end();
  return params;
}

Json read_port_or_all(WordReader& words) {
  Json params{{"port", words.text("all, a port's number or an endpoint's name")}};
  words.end();
  return params;
}

}  // namespace godwit::control
