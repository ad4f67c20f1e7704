// Reading [policy.NAME], and the choice of a policy in [tls] and [[host]].
#pragma once

#include <cstdint>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "abi/config/strict_table.h"
#include "control/handshake/certs.h"
#include "control/handshake/policy.h"

namespace sluice::control {

class PolicyReader {
 public:
  // Fills `policies`: the presets first, in their order.
  explicit PolicyReader(std::vector<handshake::Policy>& policies) : policies_(policies) {}

  void read(const abi::config::Table& root);
  // The index of a preset, or of a policy that read() has found.
  [[nodiscard]] uint32_t index_of(std::string_view name) const;
  // The value of `policy` in `table`, which is used from now on; `fallback` where there is none.
  uint32_t choose(const abi::config::Table& table, uint32_t fallback);
  // What is wrong with this certificate under this policy, "what; what to do"; or empty.
  [[nodiscard]] std::string refuses(uint32_t policy,
                                    const handshake::Certificate& certificate) const;
  // Those of the policies that were chosen, each once.
  void add_warnings(std::vector<std::string>& warnings) const;

 private:
  void read_policy(const abi::config::Table& table, const std::string& name);

  std::vector<handshake::Policy>& policies_;
  std::set<uint32_t> used_;
};

}  // namespace sluice::control
