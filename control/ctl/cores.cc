// Control answers with running totals; what people ask is how it is now. So sluicectl asks twice
// and divides what was added by the workers' own time in between: `loop_us` for the busy ratio, the
// moments of publication for packets a second.
#include "control/ctl/cores.h"

#include <algorithm>
#include <cstdio>

#include "control/ctl/render.h"

namespace sluice::control::ctl {
namespace {

using Json = nlohmann::ordered_json;

uint64_t number_of(const Json& row, const char* key) {
  if (!row.is_object()) return 0;
  const auto found = row.find(key);
  return found != row.end() && found->is_number_unsigned() ? found->get<uint64_t>() : 0;
}

Json rows_of(const Json& answer) {
  if (!answer.is_object()) return Json::array();
  const auto found = answer.find("cores");
  return found != answer.end() && found->is_array() ? *found : Json::array();
}

Json row_of(const Json& rows, uint64_t worker) {
  for (const Json& row : rows) {
    if (number_of(row, "worker") == worker) return row;
  }
  return Json::object();
}

Json rates_of(const Json& then, const Json& now) {
  const bool anew = number_of(then, "loop_us") > number_of(now, "loop_us");
  const auto added = [&](const char* key) {
    const uint64_t before = anew ? 0 : number_of(then, key);
    return number_of(now, key) - std::min(before, number_of(now, key));
  };
  const uint64_t loop_us = added("loop_us");
  const auto per_second = [&](const char* key) {
    return loop_us == 0 ? 0.0
                        : static_cast<double>(added(key)) * 1e6 / static_cast<double>(loop_us);
  };
  const double busy_ratio =
      loop_us == 0 ? 0.0 : static_cast<double>(added("busy_us")) / static_cast<double>(loop_us);
  return {{"worker", number_of(now, "worker")},
          {"interval_us", loop_us},
          {"flows", number_of(now, "flows_active")},
          {"busy_ratio", std::min(busy_ratio, 1.0)},
          {"rx_packets_per_second", per_second("rx_packets")},
          {"tx_packets_per_second", per_second("tx_packets")},
          {"rx_bytes_per_second", per_second("rx_bytes")},
          {"tx_bytes_per_second", per_second("tx_bytes")},
          {"redirected_in", added("redirected_in")},
          {"redirected_out", added("redirected_out")},
          {"redirect_dropped", added("redirect_full")},
          {"rss_mispredicted", added("rss_mispredicted")},
          {"packet_buffers", number_of(now, "packet_buffers_in_use")},
          {"record_buffers", number_of(now, "buffers_in_use")},
          {"total", now}};
}

std::string percent_text(const Json& row) {
  const auto found = row.find("busy_ratio");
  const double ratio = found != row.end() && found->is_number() ? found->get<double>() : 0;
  char text[16];
  std::snprintf(text, sizeof text, "%.1f", ratio * 100);
  return text;
}

std::string rate_text(const Json& row, const char* key) {
  const auto found = row.find(key);
  const double rate = found != row.end() && found->is_number() ? found->get<double>() : 0;
  char text[32];
  std::snprintf(text, sizeof text, "%.0f", rate);
  return text;
}

}  // namespace

Json core_rates(const Json& before, const Json& after) {
  const Json then = rows_of(before);
  Json rows = Json::array();
  for (const Json& now : rows_of(after)) {
    if (now.is_object()) rows.push_back(rates_of(row_of(then, number_of(now, "worker")), now));
  }
  return {{"cores", std::move(rows)}};
}

std::string render_cores(const Json& rates) {
  TextTable table({"WORKER", "FLOWS", "BUSY %", "RX/S", "TX/S", "REDIRECTED IN", "OUT", "DROPPED",
                   "PACKET BUFFERS", "RECORD BUFFERS"});
  const auto count = [](const Json& row, const char* key) {
    return std::to_string(number_of(row, key));
  };
  for (const Json& row : rows_of(rates)) {
    if (!row.is_object()) continue;
    table.add({count(row, "worker"), count(row, "flows"), percent_text(row),
               rate_text(row, "rx_packets_per_second"), rate_text(row, "tx_packets_per_second"),
               count(row, "redirected_in"), count(row, "redirected_out"),
               count(row, "redirect_dropped"), count(row, "packet_buffers"),
               count(row, "record_buffers")});
  }
  return table.text();
}

}  // namespace sluice::control::ctl
