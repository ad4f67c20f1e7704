// What `policies` and `policy` answer.
#pragma once

#include <nlohmann/json_fwd.hpp>

#include "control/config.h"

namespace sluice::control {

// One row each: name, whether it is a preset, how many hosts use it, versions and counts.
[[nodiscard]] nlohmann::ordered_json policies_json(const ControlConfig& config);
// Everything about one, as it is after the intersection; null when there is none of this name.
[[nodiscard]] nlohmann::ordered_json policy_json(const ControlConfig& config,
                                                 const std::string& name);

}  // namespace sluice::control
