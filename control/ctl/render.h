// Tables for people: what sluicectl prints unless JSON is asked for.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace sluice::control::ctl {

// Columns as wide as their widest cell, two spaces apart; columns of numbers to the right.
class TextTable {
 public:
  explicit TextTable(std::vector<std::string> headings) : rows_{std::move(headings)} {}
  void add(std::vector<std::string> row) { rows_.push_back(std::move(row)); }
  [[nodiscard]] std::string text() const;

 private:
  std::vector<std::vector<std::string>> rows_;
};

struct CounterFilter {
  bool all = false;   // zeros too
  std::string match;  // part of the name
};

[[nodiscard]] std::string render_status(const nlohmann::ordered_json& status);
[[nodiscard]] std::string render_counters(const nlohmann::ordered_json& counters,
                                          const CounterFilter& filter);
[[nodiscard]] std::string render_connections(const nlohmann::ordered_json& connections);
[[nodiscard]] std::string render_certs(const nlohmann::ordered_json& certs);

[[nodiscard]] std::string render_policies(const nlohmann::ordered_json& policies);
[[nodiscard]] std::string render_policy(const nlohmann::ordered_json& policy);

[[nodiscard]] std::string duration_text(uint64_t ms);  // "850ms", "12s", "3m20s", "5h10m", "2d4h"
[[nodiscard]] std::string bytes_text(uint64_t bytes);  // "512", "1.5K", "20M"

}  // namespace sluice::control::ctl
