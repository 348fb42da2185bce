// SPDX-License-Identifier: Apache-2.0
//
// An import of a VM's policy in two steps. stage() checks the document, makes the ports and builds
// the tables beside the policy in force, so that nothing forwards by them yet. publish() puts
// everything in force in one transaction. An import that is destroyed before publish() leaves the
// switch as it was.
//
// Between the steps the source may still change rules; add_rule() and its siblings apply the
// changes to the staged policy.
//
// Uplink rules: the destination may have a rule of the same owner and text. Such a rule stays the
// destination's own, and the import adds no second one. A new rule that also leads to another VM
// that is local here is not put in force.
//
// Thread safety: the control thread only.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "dataplane/policy/policy_store.h"
#include "dataplane/ports.h"
#include "migration/policy/document.h"
#include "migration/policy/vm_rules.h"

namespace godwit::migration {

class StagedImport {
 public:
  // The place of one endpoint: an existing port, or the path of a vhost socket to make one at.
  struct Binding {
    std::string socket_path;
    PortId port;
  };
  using Bindings = std::map<std::string, Binding>;  // by endpoint name
  using MakeLocation = std::function<dataplane::Location(const dataplane::EndpointRecord&)>;

  // Stages the document. Endpoints lead to `uplink` until publish(). An error lists every reason,
  // one a line, and then nothing has changed.
  static Result<std::unique_ptr<StagedImport>> stage(dataplane::PolicyStore& store,
                                                     dataplane::Ports& ports, EndpointId uplink,
                                                     const Document& document,
                                                     const Bindings& bindings);
  // Returns an import that was published before a restart. Its policy must be in the store again.
  // Returns an error if an endpoint has no port.
  static Result<std::unique_ptr<StagedImport>> resume(dataplane::PolicyStore& store,
                                                      dataplane::Ports& ports,
                                                      const Document& document);
  // Undoes stage() unless publish() has succeeded.
  ~StagedImport();
  StagedImport(const StagedImport&) = delete;
  StagedImport& operator=(const StagedImport&) = delete;

  // Apply rule changes that the source made after its offer.
  Result<void> add_rule(const DocumentRule& rule);
  Result<void> remove_rule(const std::string& owner, uint32_t id);
  // Apply changes of uplink rules. Return an error if the rule is in no uplink's table of this
  // host, or if it does not lead to the VM.
  Result<void> add_uplink_rule(const DocumentRule& rule);
  Result<void> remove_uplink_rule(const std::string& owner, uint32_t id);
  // Return the digests of the staged policy, in canonical order.
  [[nodiscard]] std::string digest() const;
  [[nodiscard]] std::string uplinks_digest() const;

  struct Report {
    uint64_t rules = 0;
    uint64_t receive_rules = 0;
    uint64_t uplink_rules = 0;
    std::vector<OwnedRule> arrived;  // new rules in tables of uplinks and in the shared table
    std::vector<OwnedRule> stayed;   // uplink rules to the VM that this host had before
    std::map<std::string, uint16_t> new_ports;  // by endpoint
  };
  // Attaches the tables, sets the locations that `make` returns, starts polling the ports and adds
  // the missing uplink rules, in one transaction. The policy is in force on return. The caller must
  // call settle() before it returns to the event loop.
  Result<void> publish(const MakeLocation& make);
  // Updates the store's records after publish(), and reports what was imported.
  Report settle();

  // Returns the document with all changes applied.
  [[nodiscard]] const Document& document() const { return document_; }
  // Returns the endpoint's port, or an invalid id.
  [[nodiscard]] PortId port(const std::string& endpoint) const;
  [[nodiscard]] bool owns(PortId port) const;

 private:
  // One endpoint of the VM on this host, and what it was before stage().
  struct Place {
    EndpointId id;
    PortId port;
    bool made_port = false;
    bool made_endpoint = false;
    dataplane::Profile old_profile;
    bool old_implicit = false;
    std::unique_ptr<dataplane::DetachedPolicy> policy;
  };
  // The rule on this host that represents all uplink rules of one owner and text.
  struct Standing {
    size_t times = 0;     // how many rules of the document it represents
    bool staged = false;  // false if this host had the rule before (known_), or leaves it out
  };
  // An uplink rule that this host has.
  struct Known {
    std::string key;  // owner and text
    EndpointId owner;
    RuleId id;
    dataplane::Rule rule;
  };

  StagedImport(dataplane::PolicyStore& store, dataplane::Ports& ports, const Document& document)
      : store_(store), ports_(ports), document_(document) {}

  // Collect the reasons against the import.
  void check_endpoints(std::vector<std::string>& reasons) const;
  void check_rules(const std::vector<DocumentRule>& rules, bool of_uplinks,
                   std::vector<dataplane::RuleSpec>& out, std::vector<std::string>& reasons) const;
  // Checks that a rule is in an uplink's table and leads to this VM. It may lead to others as well.
  Result<void> check_uplink_rule(const DocumentRule& owned, const dataplane::Rule& rule) const;

  Result<void> make_ports(const Bindings& bindings);
  // Checks a port that the operator named.
  Result<void> check_port(const dataplane::Profile& profile, PortId port) const;
  // Adds the VM's endpoints and every endpoint that the rules name. All lead to the uplink until
  // publish().
  Result<void> enter_endpoints(EndpointId uplink);
  // Adds the endpoints that a rule names and the store does not have, behind the uplink.
  Result<void> enter_missing(const dataplane::RuleSpec& spec);
  Result<void> build();
  // Stages a rule of the VM, in its own tables or in the shared one.
  Result<void> stage_rule(const DocumentRule& owned, const dataplane::RuleSpec& spec);
  // Returns whether the rule leads to another VM that is local here.
  [[nodiscard]] bool leads_to_local_vm(const dataplane::Rule& rule) const;
  // Stages an uplink rule, unless an equal rule is staged or this host has one. Leaves one out that
  // leads to another VM that is local here: a peer must not change what that VM receives.
  Result<void> stand_for(const DocumentRule& owned, const dataplane::RuleSpec& spec);

  dataplane::PolicyStore& store_;
  dataplane::Ports& ports_;
  Document document_;
  std::vector<dataplane::RuleSpec> specs_;         // document_.rules, parsed
  std::vector<dataplane::RuleSpec> uplink_specs_;  // document_.uplink_rules, parsed
  std::map<std::string, Standing> standing_;       // by owner and text
  std::map<std::string, Known> here_;    // this host's rules when build() ran; by owner and text
  std::vector<Known> known_;             // those of here_ that represent rules of the document
  std::vector<std::string> made_again_;  // owners of the known_ rules that publish() had to create
  mutable std::string digest_, uplinks_digest_;          // empty until computed
  std::map<std::string, Place> places_;                  // by endpoint name
  std::unique_ptr<dataplane::Transaction> publication_;  // set between publish() and settle()
  bool published_ = false;
};

}  // namespace godwit::migration
