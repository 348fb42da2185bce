// SPDX-License-Identifier: Apache-2.0
#include "dataplane/dpdk/port/vhost_driver.h"

#include <dirent.h>
#include <rte_vhost.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <climits>
#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>
#include <string>

#include "dataplane/dpdk/env/event_queue.h"
#include "dataplane/dpdk/port/vhost_messages.h"

namespace godwit::dataplane {
namespace {

constexpr int kHangUpLimitMs = 1000;
constexpr uint64_t kSettleMs =
    20;  // from destroy_connection to the end of the event thread's handler, by far

// librte_vhost's callbacks carry no context, so what they find their port by is the process's.
struct Registry {
  std::mutex mutex;
  std::map<std::string, VhostPort*> by_path;  // protected by mutex; held for a look-up only
  std::array<std::atomic<VhostPort*>, RTE_MAX_VHOST_DEVICE> by_vid{};
};

Registry& registry() {
  static Registry the_registry;
  return the_registry;
}

VhostPort* port_of(int vid) {
  return vid >= 0 && vid < RTE_MAX_VHOST_DEVICE ? registry().by_vid[static_cast<size_t>(vid)].load()
                                                : nullptr;
}

void set_port_of(int vid, VhostPort* port) {
  if (vid >= 0 && vid < RTE_MAX_VHOST_DEVICE)
    registry().by_vid[static_cast<size_t>(vid)].store(port);
}

VhostPort* port_by_path(int vid) {
  std::array<char, PATH_MAX> path{};
  if (rte_vhost_get_ifname(vid, path.data(), path.size()) != 0) return nullptr;
  const std::lock_guard lock(registry().mutex);
  const auto found = registry().by_path.find(path.data());
  return found == registry().by_path.end() ? nullptr : found->second;
}

// The pre hook may answer in librte_vhost's place; the post hook sees what was done.
rte_vhost_msg_result before_message(int vid, void* context) {
  auto* message = static_cast<VhostMessage*>(context);
  const VhostPort* port = port_of(vid);
  if (port == nullptr || message->request != static_cast<uint32_t>(VhostRequest::kGetQueueNum)) {
    return RTE_VHOST_MSG_RESULT_NOT_HANDLED;
  }
  message->payload.u64 = port->spec().queue_pairs;  // the library would say 128
  message->size = sizeof message->payload.u64;
  return RTE_VHOST_MSG_RESULT_REPLY;
}

rte_vhost_msg_result after_message(int vid, void* context) {
  const auto* message = static_cast<const VhostMessage*>(context);
  VhostPort* port = port_of(vid);
  if (port == nullptr) return RTE_VHOST_MSG_RESULT_NOT_HANDLED;
  switch (static_cast<VhostRequest>(message->request)) {
    case VhostRequest::kSetFeatures:
      if (message->size >= sizeof(uint64_t)) port->on_features(message->payload.u64);
      break;
    case VhostRequest::kSetLogBase: port->on_rings_locked(); break;
    case VhostRequest::kGetVringBase:
      if (message->size >= sizeof(VhostVringState))
        port->on_ring_base(message->payload.state.index);
      break;
    case VhostRequest::kResetOwner: port->on_reset_owner(); break;
    case VhostRequest::kInvalid:
    case VhostRequest::kGetQueueNum:
    default: break;
  }
  return RTE_VHOST_MSG_RESULT_NOT_HANDLED;  // librte_vhost's own answer stands
}

int new_connection(int vid) {
  static constexpr rte_vhost_user_extern_ops kHooks{.pre_msg_handle = before_message,
                                                    .post_msg_handle = after_message};
  VhostPort* port = port_by_path(vid);
  if (port == nullptr || !port->on_connection(vid)) return -1;
  set_port_of(vid, port);
  return rte_vhost_extern_callback_register(vid, &kHooks, nullptr);
}

void destroy_connection(int vid) {
  VhostPort* port = port_of(vid);
  if (port == nullptr) return;
  set_port_of(vid, nullptr);
  port->on_disconnect(vid);
}

int new_device(int vid) {
  VhostPort* port = port_of(vid);
  if (port == nullptr) return -1;
  port->on_device_ready(vid);
  return 0;
}

void destroy_device(int vid) {
  if (VhostPort* port = port_of(vid)) port->on_device_gone(vid);
}

int vring_state_changed(int vid, uint16_t ring, int enable) {
  if (VhostPort* port = port_of(vid)) port->on_ring(ring, enable != 0);
  return 0;
}

constexpr rte_vhost_device_ops kDeviceOps{
    .new_device = new_device,
    .destroy_device = destroy_device,
    .vring_state_changed = vring_state_changed,
    .features_changed = nullptr,  // says less, and later, than SET_FEATURES itself
    .new_connection = new_connection,
    .destroy_connection = destroy_connection,
    .guest_notified = nullptr,
    .reserved = {},
};

// A server's socket that a killed process left behind would keep us from listening.
void remove_stale_socket(const std::string& path) {
  struct stat status {};
  if (lstat(path.c_str(), &status) != 0 || !S_ISSOCK(status.st_mode)) return;
  const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0) return;
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path, path.c_str(), path.size());
  const bool refused = connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0 &&
                       errno == ECONNREFUSED;
  ::close(fd);
  if (refused) unlink(path.c_str());
}

Result<void> configure(VhostPort& port, const char* path) {
  if (rte_vhost_driver_disable_features(path, kFeaturesNotOffered) != 0)
    return fail("cannot mask virtio features");
  uint64_t offered = 0;
  if (rte_vhost_driver_get_features(path, &offered) != 0)
    return fail("cannot tell which virtio features are offered");
  port.set_offered_features(offered);
  if (rte_vhost_driver_callback_register(path, &kDeviceOps) != 0)
    return fail("cannot register vhost callbacks");
  if (rte_vhost_driver_start(path) != 0) {
    return fail(port.spec().server ? "cannot listen on " + port.spec().socket_path
                                   : "cannot connect to " + port.spec().socket_path);
  }
  return {};
}

void forget(VhostPort& port) {
  Registry& all = registry();
  {
    const std::lock_guard lock(all.mutex);
    all.by_path.erase(port.spec().socket_path);
  }
  for (auto& entry : all.by_vid) {
    if (entry.load() == &port) entry.store(nullptr);
  }
}

// Ends the connections of a client port from our side. librte_vhost keeps their descriptors to
// itself; a socket connected to a server bears the server's path as its peer's name.
void hang_up(const std::string& path) {
  DIR* directory = opendir("/proc/self/fd");
  if (directory == nullptr) return;
  while (const dirent* entry = readdir(directory)) {
    const int fd = std::atoi(entry->d_name);
    sockaddr_un peer{};
    socklen_t size = sizeof peer;
    if (fd <= 2 || getpeername(fd, reinterpret_cast<sockaddr*>(&peer), &size) != 0 ||
        peer.sun_family != AF_UNIX)
      continue;
    if (path == peer.sun_path) shutdown(fd, SHUT_RDWR);
  }
  closedir(directory);
}

}  // namespace

Result<void> register_vhost(VhostPort& port) {
  const std::string& path = port.spec().socket_path;
  {
    const std::lock_guard lock(registry().mutex);
    if (!registry().by_path.emplace(path, &port).second)
      return fail("socket " + path + " is another port's");
  }
  // Linear buffers: a frame is one segment or it is not received; what is larger than the pool's
  // buffers goes to a buffer of its own (64 KB at most) and meets the MTU check like any other.
  uint64_t flags = RTE_VHOST_USER_NET_COMPLIANT_OL_FLAGS | RTE_VHOST_USER_LINEARBUF_SUPPORT |
                   RTE_VHOST_USER_EXTBUF_SUPPORT;
  if (port.spec().server) {
    remove_stale_socket(path);
  } else {
    flags |= RTE_VHOST_USER_CLIENT;
  }
  if (rte_vhost_driver_register(path.c_str(), flags) != 0) {
    forget(port);
    return fail("librte_vhost cannot take socket " + path +
                (port.spec().server ? ": is the directory there and writable?" : ""));
  }
  if (auto configured = configure(port, path.c_str()); !configured) {
    rte_vhost_driver_unregister(path.c_str());
    forget(port);
    return configured;
  }
  return {};
}

// librte_vhost 22.11 may not forget a client that disconnects in this very moment: its event thread
// puts the socket back on the reconnect list after it was taken off, and then the socket is freed.
// So the connection is ended first, and what the event thread does about that is over before the
// socket goes. A new connection is refused meanwhile.
void unregister_vhost(VhostPort& port) {
  if (!port.spec().server) {
    port.refuse_connections();
    hang_up(port.spec().socket_path);
    for (int waited_ms = 0; port.connected() && waited_ms < kHangUpLimitMs; ++waited_ms)
      usleep(1000);
    while (monotonic_ns() - port.last_disconnect_ns() < kSettleMs * 1'000'000) usleep(1000);
  }
  rte_vhost_driver_unregister(port.spec().socket_path.c_str());
  forget(port);
}

}  // namespace godwit::dataplane
