// SPDX-License-Identifier: Apache-2.0
//
// `peer`: other hosts, their permissions and their sessions.
#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/text.h"
#include "control/commands/command_context.h"
#include "control/commands/command_refusal.h"
#include "control/commands/handlers.h"
#include "control/commands/parameters.h"
#include "control/commands/word_reader.h"
#include "migration/engine/engine.h"

namespace godwit::control {
namespace {

std::string yes_no(const Json& value) { return value.get<bool>() ? "yes" : "no"; }

Json describe(const migration::LinkInfo& link) {
  Json out{{"address", link.address},
           {"incoming", link.incoming},
           {"version", link.version},
           {"tls", link.cipher.empty() ? Json() : Json(link.cipher)},
           {"certificate", Json()}};
  if (!link.certificate) return out;
  const migration::CertificateInfo& certificate = *link.certificate;
  out["certificate"] = {{"subject", certificate.subject},
                        {"issuer", certificate.issuer},
                        {"names", certificate.names},
                        {"not_before", utc_text(certificate.not_before_s)},
                        {"not_after", utc_text(certificate.not_after_s)},
                        {"not_after_unix_s", certificate.not_after_s}};
  return out;
}

}  // namespace

Json peer_list(CommandContext& context, const Json& json) {
  const Parameters params(json, {});
  Json peers = Json::array();
  for (const migration::PeerStatus& peer : context.engine.peers()) {
    Json sessions = Json::array();
    for (const migration::LinkInfo& link : peer.sessions) sessions.push_back(describe(link));
    peers.push_back({{"host", peer.host},
                     {"address", peer.address},
                     {"connected", peer.connected},
                     {"may_move_in", peer.may_move_in},
                     {"may_move_out", peer.may_move_out},
                     {"error", peer.error.empty() ? Json() : Json(peer.error)},
                     {"sessions", std::move(sessions)}});
  }
  return {{"peers", std::move(peers)}};
}
std::string print_peer_list(const Json& data, const Json&) {
  std::vector<std::vector<std::string>> rows{{"Host", "Address", "Connected", "In", "Out",
                                              "Sessions", "TLS", "Certificate valid to", "Error"}};
  for (const Json& peer : data.at("peers")) {
    const Json& sessions = peer.at("sessions");
    const Json last = sessions.empty() ? Json() : sessions.back();
    const bool certified = !last.is_null() && !last.at("certificate").is_null();
    rows.push_back({peer.at("host"), peer.at("address"), yes_no(peer.at("connected")),
                    yes_no(peer.at("may_move_in")), yes_no(peer.at("may_move_out")),
                    std::to_string(sessions.size()),
                    last.is_null()             ? "-"
                    : last.at("tls").is_null() ? "plain text"
                                               : last.at("tls").get<std::string>(),
                    certified ? last.at("certificate").at("not_after").get<std::string>() : "-",
                    peer.at("error").is_null() ? "" : peer.at("error").get<std::string>()});
  }
  return rows.size() == 1 ? "No peers\n" : table(rows);
}

Json read_peer_ping(WordReader& words) {
  Json params{{"host", words.text("a peer's name (`peer list`)")}};
  if (words.more()) {
    const Token word = words.next("");
    if (word.text != "count") WordReader::wrong(word, "unexpected word", "count N");
    params["count"] = WordReader::number(words.next("a number of pings"), migration::kMaxPings);
  }
  words.end();
  return params;
}

void peer_ping(CommandContext& context, const Json& json, CommandDone done) {
  const Parameters params(json, {"host", "count"});
  const std::string host = params.text("host");
  const uint64_t count = params.has("count") ? params.number("count", 1, migration::kMaxPings) : 1;
  take(context.engine.ping(
      host, count, [done = std::move(done)](Result<migration::PingReport> report) {
        if (!report) return done(fail(report.error()));
        Json data = describe(report->link);
        data["host"] = report->host;
        data["may_move_in"] = report->may_move_in;
        data["may_move_out"] = report->may_move_out;
        data["versions"] = {{"peer", {report->version_low, report->version_high}},
                            {"here", {migration::kVersionLow, migration::kVersionHigh}}};
        data["connect_us"] = report->connect_ns / 1000;
        Json& trips = data["round_trips_us"] = Json::array();
        for (const uint64_t ns : report->round_trips_ns) {
          const uint64_t tenths_us = ns / 100;
          trips.push_back(static_cast<double>(tenths_us) / 10);
        }
        done(std::move(data));
      }));
}
std::string print_peer_ping(const Json& data, const Json&) {
  const auto us = [](double value) { return std::to_string(std::llround(value)) + " us"; };
  const Json& versions = data.at("versions");
  const auto range = [](const Json& both) {
    return std::to_string(both[0].get<unsigned>()) + " to " +
           std::to_string(both[1].get<unsigned>());
  };
  std::string out = data.at("host").get<std::string>() + " at " +
                    data.at("address").get<std::string>() + ": " +
                    (data.at("tls").is_null() ? "plain text" : data.at("tls").get<std::string>()) +
                    ", connected in " + us(data.at("connect_us").get<double>()) + "\n";
  if (const Json& certificate = data.at("certificate"); !certificate.is_null()) {
    out += "Certificate: " + certificate.at("subject").get<std::string>() + ", issued by " +
           certificate.at("issuer").get<std::string>() + ", valid to " +
           certificate.at("not_after").get<std::string>() + "\n";
  }
  out += "Protocol: version " + std::to_string(data.at("version").get<unsigned>()) +
         "; the peer speaks " + range(versions.at("peer")) + ", this switch " +
         range(versions.at("here")) + "\n";
  out += "VMs may move in: " + yes_no(data.at("may_move_in")) +
         ", out: " + yes_no(data.at("may_move_out")) + "\n";
  const auto trips = data.at("round_trips_us").get<std::vector<double>>();
  if (trips.empty()) return out + "Round trip: not measured; the version has no ping\n";
  const double sum = std::accumulate(trips.begin(), trips.end(), 0.0);
  return out + "Round trip: " + std::to_string(trips.size()) +
         (trips.size() == 1 ? " ping, " : " pings, ") + "least " +
         us(*std::ranges::min_element(trips)) + ", mean " +
         us(sum / static_cast<double>(trips.size())) + ", most " +
         us(*std::ranges::max_element(trips)) + "\n";
}

}  // namespace godwit::control
