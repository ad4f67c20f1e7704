// Theory of operation. A custom policy begins as the preset that it is based on; each key replaces
// one property. It is resolved at once, so that an error points at the key it comes from. Warnings
// are kept with the policy and shown only when something uses it.
#include "control/config_policy.h"

#include "control/config.h"

namespace sluice::control {
namespace {

using abi::config::Choice;
using abi::config::quote;
using abi::config::Table;
using handshake::Certificate;
using handshake::Policy;
using handshake::PolicySpec;
using handshake::Preference;

constexpr Choice<uint16_t> kVersions[] = {
    {"1.0", 0x0301}, {"1.1", 0x0302}, {"1.2", 0x0303}, {"1.3", 0x0304}};
constexpr Choice<Preference> kPreferences[] = {{"server", Preference::Server},
                                               {"client", Preference::Client},
                                               {"chacha-first", Preference::ChachaFirst}};

}  // namespace

void PolicyReader::read(const Table& root) {
  for (const handshake::Preset& preset : handshake::policy_presets()) {
    auto policy = handshake::resolve_policy(preset.name, preset.spec);
    if (!policy) {
      root.fail("this OpenSSL cannot serve the preset " + std::string(preset.name) + " (" +
                policy.error().message + "); install OpenSSL 3.0 of Debian 12");
      return;
    }
    policies_.push_back(std::move(*policy));
  }
  const Table custom = root.optional_table("policy");
  if (!custom.exists()) return;
  for (const std::string& name : custom.keys()) {
    if (policies_.size() >= kMaxPolicies) {
      custom.fail(name, "there are too many policies; keep at most 256");
      return;
    }
    read_policy(custom.required_table(name), name);
  }
}

void PolicyReader::read_policy(const Table& table, const std::string& name) {
  if (handshake::find_preset(name) != nullptr) {
    table.fail(quote(name) + " is a preset and never changes; choose another name");
    return;
  }
  const std::string base = table.optional_string("base", handshake::kDefaultPolicy);
  const PolicySpec* const preset = handshake::find_preset(base);
  if (preset == nullptr) {
    table.fail("base", quote(base) +
                           " is not a preset; use \"modern-5.8\", \"intermediate-5.8\" or "
                           "\"old-5.8\"");
    return;
  }
  PolicySpec spec = *preset;
  spec.minimum_version = table.optional_enum("minimum_version", kVersions, spec.minimum_version);
  spec.maximum_version = table.optional_enum("maximum_version", kVersions, spec.maximum_version);
  spec.ciphers = table.optional_string("ciphers", spec.ciphers);
  spec.ciphersuites = table.optional_string("ciphersuites", spec.ciphersuites);
  spec.groups = table.optional_string("groups", spec.groups);
  spec.dh_groups = table.optional_string("dh_groups", spec.dh_groups);
  spec.signature_algorithms =
      table.optional_string("signature_algorithms", spec.signature_algorithms);
  spec.preference = table.optional_enum("preference", kPreferences, spec.preference);
  auto policy = handshake::resolve_policy(name, spec);
  if (policy) {
    policies_.push_back(std::move(*policy));
    return;
  }
  if (policy.error().key.empty()) {
    table.fail(policy.error().message);
  } else {
    table.fail(policy.error().key, policy.error().message);
  }
  policies_.emplace_back().name = name;  // whoever names it is not to blame
}

uint32_t PolicyReader::index_of(std::string_view name) const {
  for (uint32_t i = 0; i < policies_.size(); ++i) {
    if (policies_[i].name == name) return i;
  }
  return 0;
}

uint32_t PolicyReader::choose(const Table& table, uint32_t fallback) {
  uint32_t index = fallback;
  const std::string name = table.optional_string("policy", "");
  if (!name.empty()) {
    index = index_of(name);
    std::vector<std::string_view> names;
    for (const Policy& policy : policies_) names.push_back(policy.name);
    if (index >= policies_.size() || policies_[index].name != name) {
      const auto near = abi::config::suggest(name, names);
      table.fail("policy", "no policy is named " + quote(name) + "; " +
                               (near ? "did you mean " + quote(*near) + "?"
                                     : "add [policy." + name + "], or use a preset"));
    }
  }
  used_.insert(index);
  return index;
}

std::string PolicyReader::refuses(uint32_t index, const Certificate& certificate) const {
  if (index >= policies_.size() || policies_[index].minimum_version == 0) return {};  // reported
  const Policy& policy = policies_[index];
  const int needed = handshake::needed_strength_bits(policy);
  if (certificate.strength_bits < needed) {
    return "the certificate has " + std::to_string(certificate.strength_bits) +
           " bits of strength and policy " + policy.name + " asks for " + std::to_string(needed) +
           "; use a larger key, SHA-256 or better, or a lower @SECLEVEL";
  }
  if (handshake::can_authenticate(policy, certificate.type == handshake::KeyType::Ecdsa)) return {};
  return "policy " + policy.name + " has no suite or no signature algorithm for an " +
         handshake::key_type_name(certificate.type) +
         " certificate; leave the certificate out, or " + "use another policy";
}

void PolicyReader::add_warnings(std::vector<std::string>& warnings) const {
  for (const uint32_t index : used_) {
    if (index >= policies_.size()) continue;
    const std::vector<std::string>& more = policies_[index].warnings;
    warnings.insert(warnings.end(), more.begin(), more.end());
  }
}

}  // namespace sluice::control
