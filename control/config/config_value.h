// SPDX-License-Identifier: Apache-2.0
//
// A YAML node with its file and its name, and readers for each type of value. A reader that finds
// another type or value throws a ConfigRefusal at the node's place. In the comments below, to
// refuse is to throw it.
#pragma once

#include <yaml-cpp/yaml.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "base/result.h"
#include "control/config/config_refusal.h"
#include "control/config/place.h"

namespace godwit::control {

// Returns the text in backticks, fit for an error message.
std::string in_backticks(const std::string& text);

class ConfigValue {
 public:
  static constexpr size_t kMaxListEntries = 65536;

  // `name` is the key's path for error messages, such as `fdb.entries`. The top has an empty name.
  ConfigValue(YAML::Node node, const std::string& file, std::string name)
      : node_(std::move(node)), file_(file), name_(std::move(name)) {}

  // Returns the place at which the node begins.
  [[nodiscard]] Place place() const;
  // Returns the place of a scalar's first byte, behind an opening quote.
  [[nodiscard]] Place text_place() const;
  // Refuses the node with this message.
  [[noreturn]] void refuse(const std::string& what, const std::string& expected = {}) const;
  // Refuses the value itself: "NAME is `VALUE`, expected ...".
  [[noreturn]] void wrong(const std::string& expected) const;

  // Returns a text that is not empty, has at most `most` bytes and no zero byte.
  [[nodiscard]] std::string text(const std::string& expected, size_t most = 4096) const;
  // Returns an unquoted decimal number from `least` to `most`.
  [[nodiscard]] uint64_t number(uint64_t least, uint64_t most) const;
  template <typename T>
  void number(T& out, uint64_t least, uint64_t most) const {
    out = static_cast<T>(number(least, most));
  }
  [[nodiscard]] bool boolean() const;
  // Returns the index of the value in `words`. Refuses a value that is not among them.
  [[nodiscard]] size_t choice(const std::vector<std::string>& words) const;

  // Calls `entry` for each entry of a list. An empty value is an empty list. Refuses a list of more
  // than `most` entries.
  void each(const std::function<void(const ConfigValue&)>& entry,
            size_t most = kMaxListEntries) const;
  // Calls `entry` for each key of a mapping. Refuses a duplicate key.
  void each_key(const std::function<void(const ConfigValue& key, const std::string& name,
                                         const ConfigValue& value)>& entry) const;
  struct Field {
    const char* name;
    std::function<void(const ConfigValue&)> read;
  };
  // Calls the reader of each key of a mapping. Refuses a key that is not among `known`.
  void fields(const std::vector<Field>& known) const;

  // Returns the value of a parser's result, or refuses with its error.
  template <typename T>
  T take(Result<T> result, const std::string& expected) const {
    if (!result)
      refuse(name_ + ": " + result.error().message,
             result.error().expected.empty() ? expected : result.error().expected);
    return std::move(*result);
  }
  [[nodiscard]] const std::string& file() const { return file_; }
  [[nodiscard]] const std::string& name() const { return name_; }

 private:
  YAML::Node node_;
  const std::string& file_;
  std::string name_;
};

}  // namespace godwit::control
