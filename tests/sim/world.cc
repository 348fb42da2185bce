// SPDX-License-Identifier: Apache-2.0
#include "tests/sim/world.h"

#include <algorithm>

#include "dataplane/rules/flow_command.h"

namespace godwit::sim {

using dataplane::LocationKind;

namespace {

constexpr uint64_t kPatience =
    60 * kSecond;  // from the end of all faults until every move must be over
constexpr uint64_t kServedAfter =
    5 * kSecond;  // by any host's clock: until a VM that runs has its policy and its ports
constexpr uint64_t kHelpAfter =
    10 * kSecond;  // after this time only an operator can help a VM that runs elsewhere

void make_rule(dataplane::Transaction& transaction, EndpointId owner, const std::string& text) {
  const auto rule = dataplane::parse_rule(text);
  if (rule) (void)transaction.create_rule(owner, *rule);
}

}  // namespace

World::World(const RunOptions& its_options)
    : options(its_options),
      chance(its_options.seed),
      trace(schedule, its_options.trace),
      plan(Plan::draw(chance, its_options.extras)),
      wires(schedule, chance, trace) {
  wires.faults = plan.wires;
  wires.on_lost = [this](const migration::wire::Redirect& frames) {
    for (const auto& frame : frames.frames()) {
      tokens_[token_of(std::span(reinterpret_cast<const uint8_t*>(frame.data().data()),
                                 frame.data().size()))]
          .excused = true;
    }
  };
  wires.on_taken = [this](unsigned host, const migration::wire::Redirect& frames) {
    for (const auto& frame : frames.frames()) {
      tokens_[token_of(std::span(reinterpret_cast<const uint8_t*>(frame.data().data()),
                                 frame.data().size()))]
          .touched |= static_cast<uint8_t>(1u << host);
    }
  };
  wires.on_said = [this](unsigned host, unsigned peer, const migration::wire::Envelope& message) {
    on_said(host, peer, message);
  };
  if (options.extras.liar && options.hosts < kMaxHosts)
    liar_ = std::make_unique<Liar>(wires, schedule, options.seed, options.hosts);
  if (options.mutant != nullptr && options.mutant->network)
    wires.tamper = options.mutant->network();
  trace([&] { return "the plan: " + plan.text(); });
}

// Sessions that end with their hosts have nobody to tell.
World::~World() {
  wires.on_lost = nullptr;
  wires.on_taken = nullptr;
  wires.on_said = nullptr;
}

void World::set_up() {
  for (unsigned h = 0; h < options.hosts; ++h) {
    const double rate =
        plan.faults.skewed_clocks ? 0.6 + static_cast<double>(chance.below(100)) / 100 : 1;
    hosts.push_back(std::make_unique<Host>(*this, h, rate));
    fabric_.path_ns[h] = chance.spread(5 * kUs, plan.faults.slow_fabric ? 2 * kMs : 40 * kUs);
  }
  for (unsigned v = 0; v < plan.vms; ++v) {
    Vm& vm = vms_.emplace_back();
    vm.name = "vm" + std::to_string(v + 1);
    const auto count = chance.between(1, plan.most_nics);
    for (unsigned n = 0; n < count; ++n) {
      vm.nics.push_back(static_cast<unsigned>(nics_.size()));
      nics_.push_back({vm.name + "/net" + std::to_string(n), v, n, 0});
    }
    vm.rules_inside.resize(vm.nics.size());
  }
  for (const auto& host : hosts) {
    host->start();
    dataplane::Transaction transaction(host->sw->store);
    for (unsigned h = 0; h < options.hosts; ++h) {
      dataplane::Profile profile;
      profile.name = std::string("stay-") + static_cast<char>('a' + h) + "/net0";
      (void)transaction.add_endpoint(profile, {LocationKind::kUplink, {}, host->sw->uplink});
    }
    transaction.commit();
  }
  for (unsigned v = 0; v < plan.vms; ++v)
    set_up_vm(v, static_cast<unsigned>(chance.below(options.hosts)));
  for (const auto& host : hosts) {
    host->keep_policy();
    if (plan.faults.lost_disks)
      host->disk_state.old = std::make_shared<migration::MemoryDisk>(*host->disk);
  }
  for (unsigned v = 0; v < plan.vms; ++v) {
    Vm& vm = vms_[v];
    Host& home = *hosts[static_cast<size_t>(vm.runs_at)];
    vm.picture = home.picture_of(vm.name);
    vm.pictures.insert(vm.picture);
    vm.uplinks = home.uplinks_of(vm.name);
    vm.uplinks_ever.insert(vm.uplinks);
    vm.digest = home.digest_of(vm.name);
    connect(v, home.index);
    traffic_later(v);
  }
}

void World::set_up_vm(unsigned v, unsigned home) {
  Vm& vm = vms_[v];
  vm.runs_at = static_cast<int>(home);
  vm.at[home].there = true;
  for (const auto& host : hosts) {
    dataplane::Transaction transaction(host->sw->store);
    for (unsigned n = 0; n < vm.nics.size(); ++n) {
      Nic& nic = nics_[vm.nics[n]];
      nic.learned_at = home;
      dataplane::Profile profile;
      profile.name = nic.name;
      profile.macs = {MacAddress{{0x02, 0, 0, 0, 0, static_cast<uint8_t>(vm.nics[n])}}};
      const bool here = host->index == home;
      const PortId port =
          here ? *host->sw->ports.add_vhost(
                     {nic.name, "/run/" + vm.name + "-net" + std::to_string(n) + ".sock", false, 1,
                      1500})
               : PortId{};
      const EndpointId id = *transaction.add_endpoint(
          profile, here ? dataplane::Location{LocationKind::kPort, port, {}}
                        : dataplane::Location{LocationKind::kUplink, {}, host->sw->uplink});
      if (here) {
        (void)transaction.bind_port(id, port);
        (void)transaction.set_active(id, true);
        make_rule(
            transaction, id,
            "ingress priority 1 pattern eth / ipv4 / udp dst is 6666 / end actions drop / end");
        make_rule(transaction, id, "egress priority 2 pattern eth / end actions count / end");
        if (n == 0) {
          make_rule(
              transaction, host->sw->uplink,
              "ingress priority 7 pattern eth / end actions represented_port ethdev_port_id " +
                  nic.name + " / end");
          make_rule(transaction, host->sw->uplink,
                    "transfer pattern represented_port ethdev_port_id is " + nic.name +
                        " / eth / end actions represented_port ethdev_port_id stay-a/net0 / end");
        }
        vm.at[home].rings[n] = true;
      }
    }
    transaction.commit();
    if (host->index != home) continue;
    for (unsigned n = 0; n < vm.nics.size(); ++n)
      vm.rules_inside[n] = host->sw->store.find(nics_[vm.nics[n]].name)->inside.size();
  }
  for (const unsigned nic : vm.nics) {
    flows_.push_back({nic, kNowhere});
    flows_.push_back({nic, static_cast<int>(chance.below(options.hosts))});
  }
}

void World::on_said(unsigned host, unsigned peer, const migration::wire::Envelope& message) {
  if (host >= options.hosts) return;
  if (liar_ != nullptr) liar_->overhear(message);
  if (!message.has_active() || !message.has_epoch()) return;
  const migration::Epoch epoch = migration::from_wire(message.epoch());
  const Host& speaker = *hosts[host];
  if (epoch.host != speaker.name) return;
  const auto written = speaker.disk->epochs.find(message.vm());
  if ((written == speaker.disk->epochs.end() || written->second < epoch) &&
      !speaker.journal->waiting())
    violate("5: " + speaker.name + " says that it has " + message.vm() + " by epoch " +
            migration::to_string(epoch) + ", which it has not written");
  for (Vm& vm : vms_) {
    if (vm.name != message.vm() || epoch < vm.taken_by) continue;
    vm.taken_by = epoch;
    vm.taken_at = host;
    vm.taken_from = peer;
  }
}

void World::on_log(unsigned host, const std::string& line) {
  trace.line(hosts[host]->name, line);
  if (!plan.aims.kill_in_state.empty() && !healing && chance.one_in(2) &&
      line.find(plan.aims.kill_source ? " to host-" : " from host-") != std::string::npos &&
      line.find("-> " + std::string(plan.aims.kill_in_state) + " on ") != std::string::npos &&
      hosts[host]->crash_in == 0) {
    // At once, or a few effects later.
    if (chance.one_in(3)) {
      hosts[host]->crash("in the chosen state");
    } else {
      hosts[host]->crash_in = chance.between(1, 6);
    }
  }
  if (line.find("in-doubt ") != std::string::npos) {
    const bool doubt = line.find("-> in-doubt on ") != std::string::npos;
    for (Vm& vm : vms_) {
      if (line.find(" of " + vm.name + " ") != std::string::npos)
        vm.doubted_at = doubt ? static_cast<int>(host) : kNowhere;
    }
  }
  // The host claimed the VM, perhaps without knowing the other's last changes.
  const bool claimed = line.find("stranded -> active") != std::string::npos ||
                       line.find(" -> claimed on") != std::string::npos;
  // Direct arrivals, and senders on the source, wait for a bounded time only.
  const bool late = line.find("active -> open on hold-timeout") != std::string::npos ||
                    line.find("flushing -> window on step-timeout") != std::string::npos;
  if (!claimed && !late) return;
  for (Vm& vm : vms_) {
    if (line.find(" of " + vm.name + " ") == std::string::npos) continue;
    vm.claimed |= claimed;
    // Of frames that went ahead, both hosts may have delivered a copy before they are in touch.
    for (Token& token : tokens_)
      token.excused |= claimed && &vms_[nics_[flows_[token.flow].nic].vm] == &vm;
    vm.order_lost |= late;
    const bool strict =
        options.extras.claims || (options.mutant != nullptr && options.mutant->claims);
    if (strict && claimed && !healing && plan.deeds.rule_changes)
      schedule.after(chance.spread(10 * kUs, 5 * kMs),
                     [this, at = &vm - vms_.data()] { change_rules(static_cast<unsigned>(at)); });
  }
}

void World::end_of_event() {
  bool look = std::exchange(rings_changed, false);
  check_doubts();
  for (const auto& host : hosts) {
    if (host->to_be_cleared()) {
      host->life->dead = true;
      wires.kill(host->index);
      host->clear();
      check_host(*host);
    }
    if (!host->up()) continue;
    host->collect_later();
    if (host->sw->store.generation() == host->checked_generation) continue;
    host->checked_generation = host->sw->store.generation();
    check_host(*host);
    look = true;
  }
  if (look) check_owners();
}

RunReport World::run() {
  set_up();
  act_later();
  if (liar_ != nullptr) lie_later();
  schedule.after(plan.length, [this] { heal(); });
  while (!over_ && report_.violation.empty() && !schedule.empty()) {
    schedule.step();
    end_of_event();
  }
  if (!over_ && report_.violation.empty()) violate("the run ended before it was quiet");
  report_.events = schedule.events();
  report_.trace = trace.lines();
  return report_;
}

// Ends all faults.
void World::heal() {
  trace.line("", "all faults cease");
  healing = true;
  healed_at_ = schedule.now();
  wires.faults = {};
  for (unsigned a = 0; a < options.hosts; ++a) {
    for (unsigned b = 0; b < a; ++b) wires.part(a, b, false);
    hosts[a]->disk_state.full = false;
    hosts[a]->crash_in = 0;
    if (!hosts[a]->up()) {
      trace.line(hosts[a]->name, "starts again");
      hosts[a]->start();
    }
  }
  look_whether_all_is_quiet(50 * kMs);
}

bool World::quiet() {
  if (fabric_.under_way != 0) return false;
  for (const auto& host : hosts) {
    if (!host->up() || host->journal->waiting() || !host->sw->worker.idle()) return false;
    for (const Vm& vm : vms_) {
      if (vm.busy || host->engine->moving(vm.name)) return false;
    }
  }
  for (const auto& host : hosts) {
    for (const auto& move : host->engine->status()) {
      if (move.state == "asking") return false;  // a pull without an answer
    }
  }
  return true;
}

// Checks invariant 7. Returns whether it holds; a VM that lacks something has a while to get it.
bool World::all_served() {
  if (!checks_service()) return true;
  double slowest = 1;
  for (const auto& host : hosts) slowest = std::max(slowest, host->clock_rate);
  bool all = true;
  for (Vm& vm : vms_) {
    const std::string lacks = missing(vm);
    if (lacks.empty() || vm.busy) {
      vm.unserved_since = 0;
      continue;
    }
    all = false;
    if (vm.unserved_since == 0) vm.unserved_since = schedule.now();
    const auto since = static_cast<double>(schedule.now() - vm.unserved_since);
    if (since < static_cast<double>(kServedAfter) * slowest) continue;
    violate("7: " + vm.name + " runs at " + hosts[static_cast<size_t>(vm.runs_at)]->name +
            " without " + lacks);
  }
  return all;
}

void World::look_whether_all_is_quiet(uint64_t again_in) {
  schedule.after(again_in, [this, again_in] {
    const bool served = all_served();
    if (served && quiet()) return finish();
    const uint64_t since = schedule.now() - healed_at_;
    if (since > kPatience) {
      std::string stuck;
      for (const auto& host : hosts) {
        for (const auto& move : host->engine->status()) {
          if (move.state != "done" && move.state != "aborted")
            stuck += " " + move.vm + " is " + move.state + " at " + host->name + ";";
        }
        if (host->journal->waiting()) stuck += " the journal of " + host->name + " waits;";
        if (!host->sw->worker.idle()) stuck += " " + host->name + " holds packets;";
      }
      return violate("5: not over a minute after all has healed:" + stuck);
    }
    help_along(since);
    look_whether_all_is_quiet(std::min<uint64_t>(again_in * 2, 1 * kSecond));
  });
}

// Cancels moves that wait for a VM which nobody migrates.
void World::help_along(uint64_t since) {
  for (Vm& vm : vms_) {
    if (vm.busy) continue;
    for (const auto& host : hosts) {
      if (!host->engine->moving(vm.name)) continue;
      for (const auto& move : host->engine->status(vm.name)) {
        if (move.role != "source" || move.state == "done" || move.state == "aborted") continue;
        const bool elsewhere = vm.runs_at != static_cast<int>(host->index) &&
                               move.peer != Wires::host_name(static_cast<unsigned>(vm.runs_at));
        if (move.state != "prepared" && !(elsewhere && since > kHelpAfter)) continue;
        if (move.state == "prepared" && vm.runs_at != static_cast<int>(host->index) &&
            vm.runs_at != kNowhere && checks_service())
          continue;  // no operator would
        trace.line(host->name,
                   "the operator cancels the move of " + vm.name + ", which is " + move.state);
        (void)host->engine->cancel(vm.name);
      }
    }
  }
}

// Checks the end; and checks it again after every switch was killed at rest.
void World::finish() {
  if (restarted_once_more_) {
    check_at_the_end();
    over_ = true;
    return;
  }
  check_tokens();
  check_at_the_end();
  for (const auto& host : hosts) {
    for (const auto& move : host->engine->status())
      ++(move.state == "done" ? report_.done : report_.aborted);
  }
  if (!chance.one_in(4)) {
    over_ = true;
    return;
  }
  restarted_once_more_ = true;
  for (const auto& host : hosts) host->crash("at rest");
  schedule.after(6 * kSecond, [this] { look_whether_all_is_quiet(50 * kMs); });
}

}  // namespace godwit::sim
