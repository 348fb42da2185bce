// SPDX-License-Identifier: Apache-2.0
#include "dataplane/dpdk/env/runtime_options.h"

#include <cctype>

namespace godwit::dataplane {

bool is_pci_devargs(std::string_view devargs) {
  if (devargs.starts_with("pci:") || devargs.starts_with("bus=pci")) return true;
  // [domain:]bus:device.function
  const std::string_view name = devargs.substr(0, devargs.find(','));
  const size_t dot = name.rfind('.');
  const size_t colon = name.rfind(':');
  return dot != std::string_view::npos && colon != std::string_view::npos && colon < dot &&
         name.find_first_not_of("0123456789abcdefABCDEF:.") == std::string_view::npos;
}

}  // namespace godwit::dataplane
