// What sluice-control takes from the configuration file: [control], [tls], [policy.NAME] and
// [[host]], together with the dataplane's part, which it needs for backends, the attach socket and
// the deadline.
//
// The format is strict. Loading reads the certificates too, so that a configuration that loads is
// one that can serve: each error is one line "file:line:column: what; what to do".
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <tl/expected.hpp>
#include <vector>

#include "abi/config/dataplane_config.h"
#include "abi/limits.h"
#include "abi/log/log.h"
#include "control/handshake/certs.h"
#include "control/handshake/policy.h"

namespace sluice::control {

inline constexpr uint32_t kMaxHosts = 65'535;
inline constexpr uint32_t kMaxNamesPerHost = 1'000;
inline constexpr uint32_t kMaxCertificatesPerHost = 2;  // one RSA, one ECDSA
inline constexpr uint32_t kMaxAlpnPerHost = 16;
inline constexpr uint32_t kMaxAlpnBytes = 32;  // InstallKeys carries as many
inline constexpr uint32_t kMaxPolicies = 256;  // the presets included

enum class UnknownSni : uint8_t { Default, Reject };

struct TlsConfig {
  uint32_t policy = 0;  // index into policies: of hosts that name none
  UnknownSni unknown_sni = UnknownSni::Default;
};

struct BackendChoice {
  std::string alpn;
  uint32_t backend = 0;  // index into dataplane.backends
};

struct HostConfig {
  std::vector<std::string> names;  // lower case; "*.example.test" stands for one label
  std::vector<std::shared_ptr<const handshake::Certificate>> certificates;
  std::vector<std::string> alpn;  // in the server's order of preference
  uint32_t backend = 0;           // index into dataplane.backends
  std::vector<BackendChoice> backend_by_alpn;
  bool is_default = false;
  uint32_t policy = 0;  // index into policies
};

// How FlowRow and InstallKeys name a host; 0 is none.
constexpr uint32_t host_tag(uint32_t host_index) { return host_index + 1; }

struct ControlConfig {
  abi::config::DataplaneConfig dataplane;
  std::string admin_socket;  // absolute
  uint32_t handshake_threads = 1;
  std::vector<uint16_t> processors;  // empty: anywhere
  std::string user;                  // empty: stay who we are
  log::Format log_format = log::Format::Text;
  log::Level log_level = log::Level::Info;
  std::vector<handshake::Policy> policies;  // the presets, then the configured ones
  TlsConfig tls;
  std::vector<HostConfig> hosts;      // at least one
  std::vector<std::string> warnings;  // what the operator should know and what stops nothing
};

[[nodiscard]] tl::expected<ControlConfig, abi::config::Error> load_control_config(
    const std::string& path);

}  // namespace sluice::control
