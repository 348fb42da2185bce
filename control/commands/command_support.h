// SPDX-License-Identifier: Apache-2.0
//
// What the commands' files share: refusing, reading words and parameters, finding ports and
// endpoints.
//
// A command that cannot be done throws a Refusal, which call() (commands.cc) turns into the
// answer's error; it leaves no other way. Transactions that were open are undone by their
// destructors.
#pragma once

#include <cstdint>
#include <functional>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "base/ids.h"
#include "base/result.h"
#include "base/text.h"
#include "control/rpc/jsonrpc.h"

namespace godwit::dataplane {
struct EndpointRecord;
struct Location;
struct PortInfo;
struct Profile;
class Transaction;
}  // namespace godwit::dataplane
namespace godwit::migration {
struct JournalBatch;
}

namespace godwit::control {

struct Context;
using Json = nlohmann::json;

struct Refusal {
  int code = kRefused;
  Error error;
};

[[noreturn]] void refuse(std::string message, std::string token = {}, std::string expected = {});
[[noreturn]] void refuse(Error error);

// The value, or a Refusal with the error.
template <typename T>
T take(Result<T> result) {
  if (!result) refuse(std::move(result).error());
  return std::move(*result);
}
inline void take(Result<void> result) {
  if (!result) refuse(std::move(result).error());
}

// The words behind a command's own. What is wrong with them is kInvalidParams.
class WordReader {
 public:
  WordReader(std::string_view line, std::vector<Token> words)
      : line_(line), words_(std::move(words)) {}
  [[nodiscard]] bool more() const { return next_ < words_.size(); }
  // The next word; `expected` says what is wanted if there is none.
  Token next(const std::string& expected);
  std::string text(const std::string& expected) { return std::string(next(expected).text); }
  // A number, or a Refusal at the word.
  uint64_t number(const Token& word, uint64_t most) const;
  void end();
  // All that is left, as it stands in the line.
  std::string rest();
  [[noreturn]] static void wrong(const Token& word, const std::string& message,
                                 const std::string& expected);

 private:
  std::string_view line_;
  std::vector<Token> words_;
  size_t next_ = 0;
};

// Parameters of a method by name. What is missing, of a wrong type or not known is kInvalidParams.
class Params {
 public:
  // `known`: all names that the method takes.
  Params(const Json& params, std::initializer_list<std::string_view> known);
  [[nodiscard]] bool has(const char* name) const { return params_.contains(name); }
  std::string text(const char* name) const;
  std::string text_or(const char* name, const char* otherwise) const;
  uint64_t number(const char* name, uint64_t least, uint64_t most) const;
  // A port's number or an endpoint's name, as text.
  std::string port(const char* name) const;
  std::vector<std::string> texts(const char* name) const;
  std::vector<uint64_t> numbers(const char* name, uint64_t most) const;
  [[nodiscard]] const Json& raw(const char* name) const;
  [[noreturn]] static void wrong(const std::string& what);

 private:
  const Json& params_;
};

// Writes what an open transaction will have changed, then commits it; a Refusal when it cannot be
// written, and nothing has changed. `note` fills the batch from the store as it will be; it is not
// called where nothing is kept.
void commit(const Context& context, dataplane::Transaction& transaction,
            const std::function<void(migration::JournalBatch& batch)>& note);

// By a port's number or an endpoint's name.
const dataplane::EndpointRecord& find_endpoint(const Context& context, const std::string& port);
// The same, and it has a port here; or a port that is nobody's, by number.
PortId find_port(const Context& context, const std::string& port);
// {"port": "all" | port} -> the ports, by number.
std::vector<dataplane::PortInfo> find_ports(const Context& context, const Params& params);
void refuse_if_moving(const Context& context, std::string_view endpoint);

// "port 0", "uplink physnet1", "parked", "redirect", "none".
std::string location_text(const Context& context, const dataplane::Location& location);

// Profiles by words (`mac ..`, `mac=..`) and parameters ("macs":[..], "ips", "vlans", "mtu",
// "queues", "miss").
bool put_profile_option(Json& params, std::string_view key, const Token& value);
void change_profile(const Params& params, dataplane::Profile& profile);
inline constexpr std::string_view kProfileOptions = "mac, ip, vlan, mtu, queues or miss";

// Readers that several commands use.
Json read_nothing(WordReader& words);
Json read_port(WordReader& words);         // {"port"}
Json read_port_or_all(WordReader& words);  // {"port"}

}  // namespace godwit::control
