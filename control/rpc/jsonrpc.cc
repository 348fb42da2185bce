// SPDX-License-Identifier: Apache-2.0
#include "control/rpc/jsonrpc.h"

#include <nlohmann/json.hpp>

#include "base/json_bounds.h"

namespace godwit::control {
namespace {

using Json = nlohmann::json;

std::string to_line(const Json& answer) {
  return answer.dump(-1, ' ', false, Json::error_handler_t::replace);
}

Json error_answer(const Json& id, const RpcError& refused) {
  const Error& error = refused.error;
  Json object{{"code", refused.code}, {"message", error.message}};
  Json data = Json::object();
  if (error.line > 0) data["line"] = error.line;
  if (error.column > 0) data["column"] = error.column;
  if (!error.token.empty()) data["token"] = error.token;
  if (!error.expected.empty()) data["expected"] = error.expected;
  if (!data.empty()) object["data"] = std::move(data);
  return Json{{"jsonrpc", "2.0"}, {"id", id}, {"error", std::move(object)}};
}

std::string refuse(const Json& id, int code, std::string message) {
  return to_line(error_answer(id, RpcError{code, Error{std::move(message)}}));
}

// Returns the first defect of the request, or nullptr if it has none.
const char* fault_of(const Json& request) {
  if (!request.is_object())
    return request.is_array() ? "batches are not supported: send one object per line"
                              : "a request must be an object";
  const auto version = request.find("jsonrpc");
  if (version == request.end() || *version != "2.0") return "\"jsonrpc\" must be \"2.0\"";
  const auto method = request.find("method");
  if (method == request.end() || !method->is_string()) return "\"method\" must be a string";
  const auto params = request.find("params");
  if (params != request.end() && !params->is_object()) return "\"params\" must be an object";
  const auto id = request.find("id");
  if (id != request.end() && !id->is_string() && !id->is_number() && !id->is_null())
    return "\"id\" must be a string or a number";
  for (const auto& [key, value] : request.items()) {
    if (key != "jsonrpc" && key != "method" && key != "params" && key != "id")
      return "a request has only the keys jsonrpc, id, method and params";
  }
  return nullptr;
}

}  // namespace

void answer_line(std::string_view line, const AsyncRpcHandler& handler,
                 std::function<void(std::string answer)> answer) {
  if (const std::string excess = excess_of_json(line); !excess.empty())
    return answer(error_line(kParseError, excess));
  const Json request = Json::parse(line, nullptr, false);
  if (request.is_discarded()) return answer(error_line(kParseError, "not JSON"));
  Json id = nullptr;
  if (request.is_object()) {
    const auto found = request.find("id");
    if (found != request.end() && (found->is_string() || found->is_number())) id = *found;
  }
  if (const char* fault = fault_of(request)) return answer(refuse(id, kInvalidRequest, fault));

  const auto params = request.find("params");
  const Json none = Json::object();
  const bool notification = !request.contains("id");
  handler(request.at("method").get_ref<const std::string&>(),
          params == request.end() ? none : *params,
          [id = std::move(id), notification, answer = std::move(answer)](bool done, Json result,
                                                                         const RpcError& error) {
            if (notification) return answer({});
            if (!done) return answer(to_line(error_answer(id, error)));
            answer(to_line(Json{{"jsonrpc", "2.0"}, {"id", id}, {"result", std::move(result)}}));
          });
}

std::string answer_line(std::string_view line, const RpcHandler& handler) {
  std::string out;
  const auto at_once = [&](const std::string& method, const Json& params, const RpcReply& reply) {
    Json result = nullptr;
    RpcError error;
    const bool done = handler(method, params, result, error);
    reply(done, std::move(result), std::move(error));
  };
  answer_line(line, at_once, [&](std::string answer) { out = std::move(answer); });
  return out;
}

std::string error_line(int code, std::string_view message) {
  return refuse(nullptr, code, std::string(message));
}

}  // namespace godwit::control
