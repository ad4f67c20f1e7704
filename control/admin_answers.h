// What the admin socket's commands answer.
#pragma once

#include <memory>
#include <nlohmann/json.hpp>
#include <vector>

#include "abi/messages.h"
#include "control/admin.h"
#include "control/attachment.h"
#include "control/config.h"
#include "control/flow_lister.h"
#include "control/handshake/service.h"

namespace sluice::control {

// What the answers are made from; all of it outlives the admin socket and belongs to the main loop.
struct AdminSources {
  const ControlConfig& config;
  const Attacher& attacher;
  FlowLister& lister;
  std::vector<const handshake::ServiceStats*> stats;
  uint64_t started_us = 0;
};

// Commands: status, counters, cores, certs, policies, policy {"name"}, connections {"worker",
// "index", "limit"}.
void answer_admin(const AdminSources& sources, const nlohmann::json& request,
                  Admin::Respond respond);

[[nodiscard]] nlohmann::ordered_json flow_row_json(const ControlConfig& config,
                                                   const abi::FlowRow& row);

}  // namespace sluice::control
