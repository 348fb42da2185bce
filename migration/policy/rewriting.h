// SPDX-License-Identifier: Apache-2.0
//
// The patent's operations on a policy store: note and export a VM's rules; take its transmit rules
// away and turn its receive rules to the uplink (one transaction); stage an import beside what is
// in force, and publish it with everything bound to the new ports (one transaction). Undoing either
// gives back what was there before.
//
// Nothing here knows of peers, sockets or time. Thread safety: the control thread only.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/result.h"
#include "dataplane/policy/policy_store.h"
#include "dataplane/ports.h"
#include "migration/policy/document.h"

namespace godwit::migration {

// The VM's policy as it is now. Refused when no endpoint of that name is here.
// Profiles say which virtio features the VM's driver has negotiated with its port.
Result<Document> export_vm(const dataplane::PolicyStore& store, const dataplane::Ports& ports,
                           const std::string& vm, const std::string& host, const Epoch& epoch);

// What take_out() did, for reports and for what remains to be done at the end.
struct TakenOut {
  uint64_t transmit_rules = 0;  // removed with the VM's tables
  uint64_t receive_rules = 0;   // elsewhere on this host, turned by the new location
  std::map<std::string, uint16_t> old_ports;
};

// Rules out, location to `kind` (kUplink or kRedirect), port no longer polled: one transaction. The
// port stays bound when keep_port (a move still needs its place), else it is free.
Result<TakenOut> take_out(dataplane::PolicyStore& store, const std::string& vm,
                          dataplane::LocationKind kind, EndpointId uplink, bool keep_port);

using OwnedRule = std::pair<std::string, uint32_t>;  // owner, id

// The uplinks' rules that lead to the VM only.
[[nodiscard]] std::vector<OwnedRule> uplink_rules_of(const dataplane::PolicyStore& store,
                                                     const std::string& vm);
// They go from this host. Returns which.
std::vector<OwnedRule> remove_uplink_rules(dataplane::PolicyStore& store, const std::string& vm);

// Those of `rules` that are there go.
void destroy_rules(dataplane::PolicyStore& store, const std::vector<OwnedRule>& rules);

// The location of all the VM's endpoints; `make` fills it for each. Also sets whether their ports
// are polled.
Result<void> relocate(
    dataplane::PolicyStore& store, const std::string& vm, bool active,
    const std::function<dataplane::Location(const dataplane::EndpointRecord&)>& make);

// An import on its way: checked, its ports made, its tables built aside. Nothing forwards by it
// yet.
class StagedImport {
 public:
  struct Binding {
    std::string socket_path;  // make a vhost port there, or
    PortId port;              // take this one
  };
  using Bindings = std::map<std::string, Binding>;  // by endpoint name

  // Every reason for a refusal, one a line; then nothing has changed.
  static Result<std::unique_ptr<StagedImport>> stage(dataplane::PolicyStore& store,
                                                     dataplane::Ports& ports, EndpointId uplink,
                                                     const Document& document,
                                                     const Bindings& bindings);
  // One that was published before a restart, and whose policy is in the store again: its endpoints
  // have their ports.
  static Result<std::unique_ptr<StagedImport>> resume(dataplane::PolicyStore& store,
                                                      dataplane::Ports& ports,
                                                      const Document& document);
  // Not published: everything is as before stage().
  ~StagedImport();
  StagedImport(const StagedImport&) = delete;
  StagedImport& operator=(const StagedImport&) = delete;

  // Rule changes that the source made after its offer.
  Result<void> add_rule(const DocumentRule& rule);
  Result<void> remove_rule(const std::string& owner, uint32_t id);
  // The same of uplink rules; refused where the rule is not an uplink's of this host, or leads to
  // others than the VM.
  Result<void> add_uplink_rule(const DocumentRule& rule);
  Result<void> remove_uplink_rule(const std::string& owner, uint32_t id);
  // Of what is staged, in canonical order.
  [[nodiscard]] std::string digest() const;
  [[nodiscard]] std::string uplinks_digest() const;

  struct Report {
    uint64_t rules = 0;
    uint64_t receive_rules = 0;
    uint64_t uplink_rules = 0;
    std::vector<OwnedRule> arrived;  // uplink rules that are new here
    std::vector<OwnedRule> stayed;   // those to the VM that this host had of its own
    std::map<std::string, uint16_t> new_ports;
  };
  // One transaction: tables attached, locations as `make` says, ports polled, uplink rules that are
  // not here yet. In force when it returns; the records follow in settle(), which the caller owes
  // it in the same turn.
  Result<void> publish(
      const std::function<dataplane::Location(const dataplane::EndpointRecord&)>& make);
  Report settle();

  [[nodiscard]] const Document& document() const { return document_; }
  [[nodiscard]] PortId port(const std::string& endpoint) const;
  [[nodiscard]] bool owns(PortId port) const;

 private:
  struct Place {  // one endpoint of the VM here
    EndpointId id;
    PortId port;
    bool made_port = false;
    bool made_endpoint = false;
    dataplane::Profile old_profile;
    bool old_implicit = false;
    std::unique_ptr<dataplane::DetachedPolicy> policy;
  };
  StagedImport(dataplane::PolicyStore& store, dataplane::Ports& ports, const Document& document)
      : store_(store), ports_(ports), document_(document) {}
  Result<void> make_ports(const Bindings& bindings);
  Result<void> enter_endpoints(EndpointId uplink);
  Result<void> build();
  Result<void> check_uplink_rule(const DocumentRule& owned, const dataplane::Rule& rule) const;
  Result<void> stand_for(const DocumentRule& owned, const dataplane::RuleSpec& spec);
  Result<void> enter_missing(const dataplane::RuleSpec& spec);

  dataplane::PolicyStore& store_;
  dataplane::Ports& ports_;
  Document document_;
  std::vector<dataplane::RuleSpec> specs_;         // document_.rules, parsed
  std::vector<dataplane::RuleSpec> uplink_specs_;  // document_.uplink_rules, parsed
  // What stands here for the uplink rules of one owner and text.
  struct Standing {
    size_t times = 0;     // in the document
    bool staged = false;  // else this host has it already, and it is among known_
  };
  std::map<std::string, Standing> standing_;  // by owner and text
  struct Known {
    std::string key;  // owner and text
    EndpointId owner;
    RuleId id;
    dataplane::Rule rule;
  };
  std::map<std::string, Known> here_;    // this host's own, when it was staged: by owner and text
  std::vector<Known> known_;             // those of them that stand for rules of the document
  std::vector<std::string> made_again_;  // owners of those that publish() made, as they were gone
  mutable std::string digest_, uplinks_digest_;  // empty: to be computed
  std::map<std::string, Place> places_;
  std::unique_ptr<dataplane::Transaction> publication_;  // between publish() and settle()
  bool published_ = false;
};

}  // namespace godwit::migration
