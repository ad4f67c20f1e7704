// Host names of SNI and of the configuration, and the table that finds a host by name.
//
// A name from the network is compared only after it has been validated: it reaches the log and the
// table in lower case and with nothing in it but letters, digits, hyphens, underscores and dots.
#include "control/handshake/certs.h"

namespace sluice::control::handshake {
namespace {

constexpr size_t kMaxNameLength = 253;
constexpr size_t kMaxLabelLength = 63;

bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_name_character(char c) {
  return (c >= 'a' && c <= 'z') || is_digit(c) || c == '-' || c == '_';
}

bool label_valid(std::string_view label) {
  if (label.empty() || label.size() > kMaxLabelLength) return false;
  if (label.front() == '-' || label.back() == '-') return false;
  for (const char c : label) {
    if (!is_name_character(c)) return false;
  }
  return true;
}

bool all_digits(std::string_view label) {
  for (const char c : label) {
    if (!is_digit(c)) return false;
  }
  return true;
}

}  // namespace

std::string normalise_host_name(std::string_view name) {
  if (name.empty() || name.size() > kMaxNameLength) return {};
  std::string lower(name);
  for (char& c : lower) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  std::string_view rest = lower;
  for (;;) {
    const size_t dot = rest.find('.');
    const std::string_view label = rest.substr(0, dot);
    if (!label_valid(label)) return {};
    if (dot == std::string_view::npos) {
      // RFC 6066 3: literal addresses are not permitted. A top label is never a number.
      return all_digits(label) ? std::string() : lower;
    }
    rest.remove_prefix(dot + 1);
  }
}

std::string normalise_host_pattern(std::string_view pattern) {
  if (!pattern.starts_with("*.")) return normalise_host_name(pattern);
  const std::string parent = normalise_host_name(pattern.substr(2));
  return parent.empty() ? std::string() : "*." + parent;
}

bool HostTable::add(const std::string& pattern, uint32_t host) {
  if (pattern.starts_with("*.")) return wildcard_.emplace(pattern.substr(2), host).second;
  return exact_.emplace(pattern, host).second;
}

uint32_t HostTable::find(const std::string& name) const {
  if (const auto found = exact_.find(name); found != exact_.end()) return found->second;
  const size_t dot = name.find('.');
  if (dot == std::string::npos) return kNone;
  const auto found = wildcard_.find(name.substr(dot + 1));
  return found == wildcard_.end() ? kNone : found->second;
}

}  // namespace sluice::control::handshake
