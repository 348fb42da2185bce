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

#include "dataplane/dpdk/env/monotonic.h"
#include "dataplane/dpdk/port/vhost_messages.h"

namespace godwit::dataplane {
namespace {

constexpr int kHangUpLimitMs = 1000;
// Longer than the event thread takes from destroy_connection() to the end of its handler.
constexpr uint64_t kSettleMs = 20;

// The ports by socket path and by device number. librte_vhost's callbacks carry no context, so this
// is a global of the process.
struct VhostPorts {
  std::mutex mutex;                           // held for look-ups only
  std::map<std::string, VhostPort*> by_path;  // protected by mutex
  std::array<std::atomic<VhostPort*>, RTE_MAX_VHOST_DEVICE> by_vid{};
};

VhostPorts& vhost_ports() {
  static VhostPorts ports;
  return ports;
}

VhostPort* port_of(int vid) {
  return vid >= 0 && vid < RTE_MAX_VHOST_DEVICE
             ? vhost_ports().by_vid[static_cast<size_t>(vid)].load()
             : nullptr;
}

void set_port_of(int vid, VhostPort* port) {
  if (vid >= 0 && vid < RTE_MAX_VHOST_DEVICE)
    vhost_ports().by_vid[static_cast<size_t>(vid)].store(port);
}

VhostPort* port_by_path(int vid) {
  std::array<char, PATH_MAX> path{};
  if (rte_vhost_get_ifname(vid, path.data(), path.size()) != 0) return nullptr;
  const std::lock_guard lock(vhost_ports().mutex);
  const auto found = vhost_ports().by_path.find(path.data());
  return found == vhost_ports().by_path.end() ? nullptr : found->second;
}

// Runs before librte_vhost handles a message, and may answer in its place.
rte_vhost_msg_result before_message(int vid, void* context) {
  auto* message = static_cast<VhostMessage*>(context);
  const VhostPort* port = port_of(vid);
  if (port == nullptr || message->request != static_cast<uint32_t>(VhostRequest::kGetQueueNum)) {
    return RTE_VHOST_MSG_RESULT_NOT_HANDLED;
  }
  message->payload.u64 = port->spec().queue_pairs;  // the library would answer 128
  message->size = sizeof message->payload.u64;
  return RTE_VHOST_MSG_RESULT_REPLY;
}

// Runs after librte_vhost has handled a message.
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
  return RTE_VHOST_MSG_RESULT_NOT_HANDLED;  // librte_vhost's answer is sent
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
    .features_changed = nullptr,  // the hook for SET_FEATURES reports more, and earlier
    .new_connection = new_connection,
    .destroy_connection = destroy_connection,
    .guest_notified = nullptr,
    .reserved = {},
};

// Removes a socket that a killed server left behind, which would keep this one from listening.
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
    return fail("cannot read the offered virtio features");
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
  VhostPorts& all = vhost_ports();
  {
    const std::lock_guard lock(all.mutex);
    all.by_path.erase(port.spec().socket_path);
  }
  for (auto& entry : all.by_vid) {
    if (entry.load() == &port) entry.store(nullptr);
  }
}

// Ends the connections of a client port from this side. librte_vhost does not reveal their
// descriptors, but a socket connected to a server has the server's path as its peer name.
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
    const std::lock_guard lock(vhost_ports().mutex);
    if (!vhost_ports().by_path.emplace(path, &port).second)
      return fail("socket " + path + " is in use by another port");
  }
  // Linear buffers: a frame is received as one segment or not at all. A frame larger than the
  // pool's buffers gets a buffer of its own (at most 64 KB) and meets the MTU check like any other.
  uint64_t flags = RTE_VHOST_USER_NET_COMPLIANT_OL_FLAGS | RTE_VHOST_USER_LINEARBUF_SUPPORT |
                   RTE_VHOST_USER_EXTBUF_SUPPORT;
  if (port.spec().server) {
    remove_stale_socket(path);
  } else {
    flags |= RTE_VHOST_USER_CLIENT;
  }
  if (rte_vhost_driver_register(path.c_str(), flags) != 0) {
    forget(port);
    return fail("librte_vhost cannot use socket " + path +
                (port.spec().server ? ": check that its directory exists and is writable" : ""));
  }
  if (auto configured = configure(port, path.c_str()); !configured) {
    rte_vhost_driver_unregister(path.c_str());
    forget(port);
    return configured;
  }
  return {};
}

// librte_vhost 22.11 has a race with a client that disconnects while its socket is unregistered:
// the event thread puts the socket back on the reconnect list after it was removed, and the socket
// is then freed. The connection is therefore ended first, and the event thread is given time to
// finish before the socket goes. A new connection is refused meanwhile.
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
