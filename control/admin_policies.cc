#include "control/admin_policies.h"

#include <algorithm>
#include <nlohmann/json.hpp>

namespace sluice::control {
namespace {

using Json = nlohmann::ordered_json;
using handshake::Policy;

Json suites_json(const Policy& policy) {
  Json list = Json::array();
  for (const auto* suites : {&policy.suites13, &policy.suites12}) {
    for (const crypto::Suite* suite : *suites) {
      list.push_back({{"name", suite->openssl_name},
                      {"iana_name", suite->iana_name},
                      {"id", suite->id},
                      {"tls13", suites == &policy.suites13}});
    }
  }
  return list;
}

Json summary(const ControlConfig& config, uint32_t index) {
  const Policy& policy = config.policies[index];
  const auto hosts = std::count_if(config.hosts.begin(), config.hosts.end(),
                                   [&](const HostConfig& host) { return host.policy == index; });
  return {{"name", policy.name},
          {"preset", handshake::find_preset(policy.name) != nullptr},
          {"default", config.tls.policy == index},
          {"hosts", hosts},
          {"minimum_version", handshake::version_name(policy.minimum_version)},
          {"maximum_version", handshake::version_name(policy.maximum_version)},
          {"preference", handshake::preference_name(policy.preference)},
          {"security_level", policy.security_level},
          {"groups", policy.groups}};
}

}  // namespace

Json policies_json(const ControlConfig& config) {
  Json list = Json::array();
  for (uint32_t index = 0; index < config.policies.size(); ++index) {
    Json row = summary(config, index);
    row["suites"] = config.policies[index].suites13.size() + config.policies[index].suites12.size();
    list.push_back(std::move(row));
  }
  return {{"policies", std::move(list)}};
}

Json policy_json(const ControlConfig& config, const std::string& name) {
  for (uint32_t index = 0; index < config.policies.size(); ++index) {
    const Policy& policy = config.policies[index];
    if (policy.name != name) continue;
    Json result = summary(config, index);
    result["dh_groups"] = policy.dh_groups;
    result["suites"] = suites_json(policy);
    result["signature_algorithms"] = policy.signature_algorithms;
    result["left_out"] = policy.warnings;
    return result;
  }
  return nullptr;
}

}  // namespace sluice::control
