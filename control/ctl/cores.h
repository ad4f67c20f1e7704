// `sluicectl cores`: what each worker did between two answers of control.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

namespace sluice::control::ctl {

// Rates over the time between two answers to "cores": a row for each worker of the later one.
// A worker that is not in the earlier answer, or that has started anew, counts from zero.
[[nodiscard]] nlohmann::ordered_json core_rates(const nlohmann::ordered_json& before,
                                                const nlohmann::ordered_json& after);
[[nodiscard]] std::string render_cores(const nlohmann::ordered_json& rates);

}  // namespace sluice::control::ctl
