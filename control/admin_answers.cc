// Theory of operation. Everything but `connections` is answered at once, from the configuration,
// the threads' statistics and the counters in the region. `connections` gives one page of one
// worker's flow table and where the next page begins, so that neither side ever holds a whole
// table; sluicectl asks until there is no next.
#include "control/admin_answers.h"

#include <unistd.h>

#include <algorithm>
#include <ctime>

#include "abi/counters.h"
#include "control/admin_policies.h"
#include "crypto/suite.h"

namespace sluice::control {
namespace {

using Json = nlohmann::ordered_json;

constexpr uint32_t kMaxPageRows = abi::kRingSlots / 2;
constexpr int64_t kSecondsPerDay = 86'400;

std::string utc_text(int64_t seconds) {
  const std::time_t time = seconds;
  std::tm utc{};
  gmtime_r(&time, &utc);
  char text[32];
  const size_t length = std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &utc);
  return {text, length};
}

const char* phase_text(uint8_t phase) {
  switch (static_cast<abi::FlowPhase>(phase)) {
    case abi::FlowPhase::ExpectClientHello:
      return "ExpectClientHello";
    case abi::FlowPhase::ExpectControl:
      return "ExpectControl";
    case abi::FlowPhase::ExpectKeys:
      return "ExpectKeys";
    case abi::FlowPhase::ExpectBackend:
      return "ExpectBackend";
    case abi::FlowPhase::Relaying:
      return "Relaying";
    case abi::FlowPhase::Closing:
      return "Closing";
  }
  return "unknown";
}

// The next certificate to expire; null when there is none.
Json next_expiry(const ControlConfig& config) {
  const handshake::Certificate* next = nullptr;
  for (const HostConfig& host : config.hosts) {
    for (const auto& certificate : host.certificates) {
      if (next == nullptr || certificate->not_after < next->not_after) next = certificate.get();
    }
  }
  if (next == nullptr) return nullptr;
  return {{"subject", next->subject},
          {"not_after", utc_text(next->not_after)},
          {"days_left", (next->not_after - std::time(nullptr)) / kSecondsPerDay}};
}

Json handshake_totals(const AdminSources& sources) {
  Json totals = {{"in_flight", 0},    {"begun", 0},          {"done", 0},
                 {"resumed", 0},      {"failed", 0},         {"ended_by_worker", 0},
                 {"bad_messages", 0}, {"longest_call_us", 0}};
  for (const handshake::ServiceStats* stats : sources.stats) {
    const auto add = [&](const char* name, const std::atomic<uint64_t>& value) {
      totals[name] = totals[name].get<uint64_t>() + value.load(std::memory_order_relaxed);
    };
    add("in_flight", stats->in_flight);
    add("begun", stats->begun);
    add("done", stats->done);
    add("resumed", stats->resumed);
    add("failed", stats->failed);
    add("ended_by_worker", stats->ended_by_worker);
    add("bad_messages", stats->bad_messages);
    totals["longest_call_us"] = std::max(totals["longest_call_us"].get<uint64_t>(),
                                         stats->longest_call_us.load(std::memory_order_relaxed));
  }
  return totals;
}

Json status(const AdminSources& sources) {
  const uint64_t now = Loop::now_us();
  Json result = {{"version", SLUICE_VERSION},
                 {"pid", getpid()},
                 {"uptime_s", (now - sources.started_us) / 1'000'000},
                 {"attached", sources.attacher.current() != nullptr}};
  if (const AttachmentPtr& attachment = sources.attacher.current()) {
    const uint64_t since_us = sources.attacher.attached_at_us();
    result["dataplane"] = {{"version", attachment->version},
                           {"pid", attachment->process_id},
                           {"epoch", attachment->region.epoch()},
                           {"workers", attachment->region.shape().workers},
                           {"attached_s", (now - since_us) / 1'000'000}};
  } else {
    result["dataplane"] = nullptr;
  }
  result["handshake_threads"] = sources.stats.size();
  result["handshakes"] = handshake_totals(sources);
  result["hosts"] = sources.config.hosts.size();
  result["next_expiry"] = next_expiry(sources.config);
  return result;
}

std::string counters(const AdminSources& sources) {
  const AttachmentPtr& attachment = sources.attacher.current();
  if (!attachment) return admin_error("not_attached", "not attached to the dataplane");
  std::array<uint64_t, abi::kCounters> totals{};
  const uint64_t now = Loop::now_us();
  Json workers = Json::array();
  for (uint32_t worker = 0; worker < attachment->region.shape().workers; ++worker) {
    const abi::WorkerBlock& block = attachment->region.worker(worker);
    Json values = Json::object();
    for (size_t i = 0; i < abi::kCounters; ++i) {
      const uint64_t value = block.counters[i].load(std::memory_order_relaxed);
      totals[i] += value;
      values[abi::kCounterInfo[i].name] = value;
    }
    const uint64_t published = block.published_us.load(std::memory_order_relaxed);
    workers.push_back({{"worker", worker},
                       {"published_ms_ago", now > published ? (now - published) / 1000 : 0},
                       {"counters", std::move(values)}});
  }
  Json sums = Json::object();
  for (size_t i = 0; i < abi::kCounters; ++i) sums[abi::kCounterInfo[i].name] = totals[i];
  return admin_result({{"counters", std::move(sums)}, {"workers", std::move(workers)}});
}

// What `sluicectl cores` shows, as running totals and the time at which they were so: whoever wants
// rates asks twice.
std::string cores(const AdminSources& sources) {
  const AttachmentPtr& attachment = sources.attacher.current();
  if (!attachment) return admin_error("not_attached", "not attached to the dataplane");
  Json rows = Json::array();
  for (uint32_t worker = 0; worker < attachment->region.shape().workers; ++worker) {
    const abi::WorkerBlock& block = attachment->region.worker(worker);
    Json row = {{"worker", worker},
                {"published_us", block.published_us.load(std::memory_order_relaxed)}};
    using enum abi::Counter;
    for (const abi::Counter counter :
         {flows_active, loop_us, busy_us, sleeps, rx_packets, rx_bytes, tx_packets, tx_bytes,
          redirected_in, redirected_out, redirect_full, rss_mispredicted, packet_buffers_in_use,
          buffers_in_use}) {
      const auto index = static_cast<size_t>(counter);
      row[abi::kCounterInfo[index].name] = block.counters[index].load(std::memory_order_relaxed);
    }
    rows.push_back(std::move(row));
  }
  return admin_result({{"cores", std::move(rows)}});
}

Json certificates(const AdminSources& sources) {
  Json list = Json::array();
  for (const HostConfig& host : sources.config.hosts) {
    for (const auto& certificate : host.certificates) {
      const int64_t seconds_left = certificate->not_after - std::time(nullptr);
      list.push_back({{"names", host.names},
                      {"default", host.is_default},
                      {"key", certificate->key_description},
                      {"subject", certificate->subject},
                      {"issuer", certificate->issuer},
                      {"alternative_names", certificate->alternative_names},
                      {"not_before", utc_text(certificate->not_before)},
                      {"not_after", utc_text(certificate->not_after)},
                      {"days_left", seconds_left / kSecondsPerDay},
                      {"fingerprint_sha256", certificate->fingerprint_sha256},
                      {"chain_file", certificate->chain_file}});
    }
  }
  return {{"certificates", std::move(list)}};
}

std::string policy(const AdminSources& sources, const nlohmann::json& request) {
  const auto name = request.find("name");
  if (name == request.end() || !name->is_string()) {
    return admin_error("bad_request", "policy takes a \"name\" that is a string");
  }
  const Json result = policy_json(sources.config, name->get_ref<const std::string&>());
  if (result.is_null()) return admin_error("not_found", "there is no policy of this name");
  return admin_result(result);
}

// A number within [0, most]; `fallback` when absent, false when it is something else.
bool read_number(const nlohmann::json& request, const char* key, uint32_t most, uint32_t fallback,
                 uint32_t& out) {
  const auto found = request.find(key);
  out = fallback;
  if (found == request.end()) return true;
  if (!found->is_number_unsigned() || found->get<uint64_t>() > most) return false;
  out = found->get<uint32_t>();
  return true;
}

void connections(const AdminSources& sources, const nlohmann::json& request,
                 Admin::Respond respond) {
  uint32_t worker = 0;
  uint32_t index = 0;
  uint32_t limit = 0;
  if (!read_number(request, "worker", abi::kMaxWorkers - 1, 0, worker) ||
      !read_number(request, "index", UINT32_MAX - 1, 0, index) ||
      !read_number(request, "limit", kMaxPageRows, kMaxPageRows, limit) || limit == 0) {
    respond(admin_error("bad_request", "worker, index and limit are numbers; limit is 1 to " +
                                           std::to_string(kMaxPageRows)));
    return;
  }
  if (!sources.attacher.current()) {
    respond(admin_error("not_attached", "not attached to the dataplane"));
    return;
  }
  if (worker >= sources.lister.workers()) {
    respond(admin_error("bad_request", "there is no such worker"));
    return;
  }
  const uint32_t workers = sources.lister.workers();
  sources.lister.list(
      worker, index, limit,
      [&config = sources.config, worker, workers, respond](const FlowLister::Page& page) {
        if (!page.error.empty()) {
          respond(admin_error("unavailable", page.error));
          return;
        }
        Json rows = Json::array();
        for (const abi::FlowRow& row : page.rows) rows.push_back(flow_row_json(config, row));
        Json next = nullptr;
        if (page.next_index != UINT32_MAX) {
          next = {{"worker", worker}, {"index", page.next_index}};
        } else if (worker + 1 < workers) {
          next = {{"worker", worker + 1}, {"index", 0}};
        }
        respond(admin_result({{"connections", std::move(rows)}, {"next", std::move(next)}}));
      });
}

}  // namespace

Json flow_row_json(const ControlConfig& config, const abi::FlowRow& row) {
  const abi::FlowId& id = row.header.flow;
  const crypto::Suite* suite =
      row.suite <= UINT16_MAX ? crypto::find_suite(static_cast<uint16_t>(row.suite)) : nullptr;
  std::string host;
  if (row.host_tag >= 1 && row.host_tag <= config.hosts.size()) {
    host = config.hosts[row.host_tag - 1].names.front();
  }
  return {{"id", std::to_string(id.core) + ":" + std::to_string(id.index) + ":" +
                     std::to_string(id.generation)},
          {"phase", phase_text(row.phase)},
          {"client", abi::to_string(row.client)},
          {"service", abi::to_string(row.service)},
          {"host", host},
          {"tls", handshake::version_name(row.tls_version)},
          {"suite", suite == nullptr ? "" : suite->iana_name},
          {"backend", row.backend.port == 0 ? "" : abi::to_string(row.backend)},
          {"backend_local_port", row.backend_local_port},
          {"age_ms", row.age_us / 1000},
          {"idle_ms", row.idle_us / 1000},
          {"bytes_in", row.bytes_from_client},
          {"bytes_out", row.bytes_to_client},
          {"rtt_us", row.client_rtt_us},
          {"held_bytes", row.held_bytes}};
}

void answer_admin(const AdminSources& sources, const nlohmann::json& request,
                  Admin::Respond respond) {
  const auto command = request.find("command");
  if (command == request.end() || !command->is_string()) {
    respond(admin_error("bad_request", "a request has a \"command\" that is a string"));
    return;
  }
  const auto& name = command->get_ref<const std::string&>();
  if (name == "status") {
    respond(admin_result(status(sources)));
  } else if (name == "counters") {
    respond(counters(sources));
  } else if (name == "cores") {
    respond(cores(sources));
  } else if (name == "certs") {
    respond(admin_result(certificates(sources)));
  } else if (name == "policies") {
    respond(admin_result(policies_json(sources.config)));
  } else if (name == "policy") {
    respond(policy(sources, request));
  } else if (name == "connections") {
    connections(sources, request, std::move(respond));
  } else {
    respond(admin_error("unknown_command",
                        "known commands are status, connections, counters, cores, certs, policies "
                        "and policy"));
  }
}

}  // namespace sluice::control
