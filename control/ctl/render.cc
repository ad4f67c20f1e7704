// The answers are read with defaults: a field that another release of control does not send is an
// empty cell and not an error.
#include "control/ctl/render.h"

#include <algorithm>
#include <cstdio>

namespace sluice::control::ctl {
namespace {

using Json = nlohmann::ordered_json;

std::string text_of(const Json& object, const char* key) {
  if (!object.is_object()) return {};
  const auto found = object.find(key);
  if (found == object.end() || found->is_null()) return {};
  return found->is_string() ? found->get<std::string>() : found->dump();
}

uint64_t number_of(const Json& object, const char* key) {
  if (!object.is_object()) return 0;
  const auto found = object.find(key);
  return found != object.end() && found->is_number() ? found->get<uint64_t>() : 0;
}

const Json& list_of(const Json& object, const char* key) {
  static const Json kEmpty = Json::array();
  const auto found = object.find(key);
  return found != object.end() && found->is_array() ? *found : kEmpty;
}

std::string or_dash(std::string text) { return text.empty() ? "-" : text; }

std::string joined(const Json& list) {
  std::string out;
  for (const Json& entry : list) {
    if (!entry.is_string()) continue;
    if (!out.empty()) out += ',';
    out += entry.get<std::string>();
  }
  return out;
}

bool is_number(const std::string& cell) {
  return !cell.empty() && cell.find_first_not_of("0123456789.KMGTP") == std::string::npos;
}

// Bytes that do not begin a character in UTF-8 take no column.
size_t width_of(const std::string& cell) {
  return static_cast<size_t>(std::count_if(cell.begin(), cell.end(), [](char c) {
    return (static_cast<unsigned char>(c) & 0xc0) != 0x80;
  }));
}

std::string rtt_text(uint64_t rtt_us) {
  char text[32];
  std::snprintf(text, sizeof text, "%.2fms", static_cast<double>(rtt_us) / 1000.0);
  return text;
}

}  // namespace

std::string TextTable::text() const {
  std::vector<size_t> widths;
  std::vector<bool> numeric;
  for (const auto& row : rows_) {
    widths.resize(std::max(widths.size(), row.size()));
    numeric.resize(widths.size(), rows_.size() > 1);
    for (size_t i = 0; i < row.size(); ++i) {
      widths[i] = std::max(widths[i], width_of(row[i]));
      if (&row != &rows_.front()) numeric[i] = numeric[i] && is_number(row[i]);
    }
  }
  std::string out;
  for (const auto& row : rows_) {
    std::string line;
    for (size_t i = 0; i < row.size(); ++i) {
      const std::string padding(widths[i] - width_of(row[i]), ' ');
      if (i != 0) line += "  ";
      line += numeric[i] ? padding + row[i] : row[i] + padding;
    }
    line.erase(line.find_last_not_of(' ') + 1);
    out += line + '\n';
  }
  return out;
}

std::string duration_text(uint64_t ms) {
  const uint64_t seconds = ms / 1000;
  const auto two = [](uint64_t big, const char* big_unit, uint64_t small, const char* small_unit) {
    return std::to_string(big) + big_unit +
           (small == 0 ? std::string() : std::to_string(small) + small_unit);
  };
  if (ms < 1000) return std::to_string(ms) + "ms";
  if (seconds < 60) return std::to_string(seconds) + "s";
  if (seconds < 3600) return two(seconds / 60, "m", seconds % 60, "s");
  if (seconds < 86'400) return two(seconds / 3600, "h", seconds / 60 % 60, "m");
  return two(seconds / 86'400, "d", seconds / 3600 % 24, "h");
}

std::string bytes_text(uint64_t bytes) {
  if (bytes < 1024) return std::to_string(bytes);
  static constexpr char kUnits[] = "KMGTP";
  double value = static_cast<double>(bytes) / 1024;
  size_t unit = 0;
  while (value >= 1023.95 && unit + 2 < sizeof kUnits) {
    value /= 1024;
    ++unit;
  }
  char text[32];
  std::snprintf(text, sizeof text, value < 9.95 ? "%.1f%c" : "%.0f%c", value, kUnits[unit]);
  return text;
}

std::string render_status(const Json& status) {
  const Json none;
  const auto child = [&](const char* key) -> const Json& {
    const auto found = status.find(key);
    return found == status.end() ? none : *found;
  };
  const Json& dataplane = child("dataplane");
  const Json& handshakes = child("handshakes");
  const Json& expiry = child("next_expiry");
  TextTable table({"control", "version " + text_of(status, "version") + ", pid " +
                                  text_of(status, "pid") + ", up " +
                                  duration_text(number_of(status, "uptime_s") * 1000)});
  const bool attached = dataplane.is_object();
  table.add({"dataplane",
             attached ? "attached for " + duration_text(number_of(dataplane, "attached_s") * 1000) +
                            ": version " + or_dash(text_of(dataplane, "version")) + ", pid " +
                            text_of(dataplane, "pid") + ", " + text_of(dataplane, "workers") +
                            " worker(s), epoch " + text_of(dataplane, "epoch")
                      : "not attached"});
  table.add({"handshakes", text_of(handshakes, "done") + " done (" +
                               text_of(handshakes, "resumed") + " resumed), " +
                               text_of(handshakes, "failed") + " failed, " +
                               text_of(handshakes, "ended_by_worker") + " ended early, " +
                               text_of(handshakes, "in_flight") + " in flight"});
  table.add({"longest call", text_of(handshakes, "longest_call_us") + " us, " +
                                 text_of(status, "handshake_threads") + " handshake thread(s)"});
  table.add({"hosts", text_of(status, "hosts") + " configured"});
  table.add({"next expiry", expiry.is_object() ? text_of(expiry, "subject") + " in " +
                                                     text_of(expiry, "days_left") + " days (" +
                                                     text_of(expiry, "not_after") + ")"
                                               : "-"});
  return table.text();
}

std::string render_counters(const Json& counters, const CounterFilter& filter) {
  const Json& workers = list_of(counters, "workers");
  std::vector<std::string> headings = {"COUNTER", "TOTAL"};
  if (workers.size() > 1) {
    for (const Json& worker : workers) headings.push_back("WORKER " + text_of(worker, "worker"));
  }
  TextTable table(headings);
  const auto totals = counters.find("counters");
  if (totals == counters.end() || !totals->is_object()) return table.text();
  for (const auto& [name, total] : totals->items()) {
    if (!filter.match.empty() && name.find(filter.match) == std::string::npos) continue;
    if (!filter.all && total == 0) continue;
    std::vector<std::string> row = {name, total.dump()};
    for (const Json& worker : workers) {
      if (workers.size() > 1 && worker.contains("counters")) {
        row.push_back(text_of(worker["counters"], name.c_str()));
      }
    }
    table.add(row);
  }
  return table.text();
}

std::string render_connections(const Json& connections) {
  TextTable table({"ID", "PHASE", "CLIENT", "SERVICE", "HOST", "TLS", "SUITE", "BACKEND", "AGE",
                   "IDLE", "IN", "OUT", "RTT"});
  for (const Json& row : list_of(connections, "connections")) {
    table.add({text_of(row, "id"), text_of(row, "phase"), text_of(row, "client"),
               text_of(row, "service"), or_dash(text_of(row, "host")), or_dash(text_of(row, "tls")),
               or_dash(text_of(row, "suite")), or_dash(text_of(row, "backend")),
               duration_text(number_of(row, "age_ms")), duration_text(number_of(row, "idle_ms")),
               bytes_text(number_of(row, "bytes_in")), bytes_text(number_of(row, "bytes_out")),
               rtt_text(number_of(row, "rtt_us"))});
  }
  return table.text();
}

std::string render_certs(const Json& certs) {
  TextTable table(
      {"NAMES", "DEFAULT", "KEY", "SUBJECT", "ALTERNATIVE NAMES", "NOT AFTER", "DAYS", "SHA256"});
  for (const Json& row : list_of(certs, "certificates")) {
    table.add({joined(list_of(row, "names")), text_of(row, "default") == "true" ? "yes" : "-",
               text_of(row, "key"), or_dash(text_of(row, "subject")),
               or_dash(joined(list_of(row, "alternative_names"))), text_of(row, "not_after"),
               text_of(row, "days_left"), text_of(row, "fingerprint_sha256").substr(0, 16)});
  }
  return table.text();
}

std::string render_policies(const Json& policies) {
  TextTable table({"NAME", "PRESET", "DEFAULT", "HOSTS", "TLS", "SUITES", "GROUPS", "PREFERENCE"});
  for (const Json& row : list_of(policies, "policies")) {
    table.add({text_of(row, "name"), text_of(row, "preset") == "true" ? "yes" : "-",
               text_of(row, "default") == "true" ? "yes" : "-", text_of(row, "hosts"),
               text_of(row, "minimum_version") + " to " + text_of(row, "maximum_version"),
               text_of(row, "suites"), joined(list_of(row, "groups")), text_of(row, "preference")});
  }
  return table.text();
}

std::string render_policy(const Json& policy) {
  TextTable table({"policy", text_of(policy, "name")});
  table.add({"versions", "TLS " + text_of(policy, "minimum_version") + " to " +
                             text_of(policy, "maximum_version")});
  table.add({"preference", text_of(policy, "preference")});
  table.add({"security level", text_of(policy, "security_level")});
  table.add({"groups", or_dash(joined(list_of(policy, "groups")))});
  table.add({"groups of DHE", or_dash(joined(list_of(policy, "dh_groups")))});
  table.add({"signatures", or_dash(joined(list_of(policy, "signature_algorithms")))});
  std::string text = table.text();
  TextTable suites({"SUITE", "IANA NAME"});
  for (const Json& suite : list_of(policy, "suites")) {
    suites.add({text_of(suite, "name"), text_of(suite, "iana_name")});
  }
  text += "\n" + suites.text();
  for (const Json& warning : list_of(policy, "left_out")) {
    if (warning.is_string()) text += "warning: " + warning.get<std::string>() + "\n";
  }
  return text;
}

}  // namespace sluice::control::ctl
