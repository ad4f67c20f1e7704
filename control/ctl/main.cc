// sluicectl: the operator's command line. Asks sluice-control over its admin socket and prints.
//
// Exit codes: 0 ok, 1 refused by sluice-control, 2 usage, 3 sluice-control is unreachable.
#include <CLI/CLI.hpp>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <thread>

#include "control/ctl/client.h"
#include "control/ctl/cores.h"
#include "control/ctl/render.h"

namespace sluice::control::ctl {
namespace {

using Json = nlohmann::ordered_json;

struct Options {
  std::string socket;
  std::string output = "table";
  CounterFilter filter;
  double interval_s = 1.0;  // of `cores`; 0: since the worker's start
  std::string policy;       // of `policy show`
};

int code(ExitCode exit_code) { return static_cast<int>(exit_code); }

std::string default_socket() {
  const char* from_environment = std::getenv("SLUICE_ADMIN_SOCKET");
  const bool set = from_environment != nullptr && *from_environment != '\0';
  return set ? from_environment : "/run/sluice/admin.sock";
}

// All pages of all workers.
tl::expected<Json, ClientError> all_connections(Client& client) {
  Json rows = Json::array();
  Json request = {{"command", "connections"}};
  for (;;) {
    auto page = client.ask(request);
    if (!page) return page;
    const auto list = page->find("connections");
    if (list != page->end() && list->is_array()) {
      for (Json& row : *list) rows.push_back(std::move(row));
    }
    const auto next = page->find("next");
    if (next == page->end() || !next->is_object()) break;
    request["worker"] = next->value("worker", 0U);
    request["index"] = next->value("index", 0U);
  }
  return Json{{"connections", std::move(rows)}};
}

tl::expected<Json, ClientError> cores(Client& client, double interval_s) {
  Json before;
  if (interval_s > 0) {
    auto first = client.ask({{"command", "cores"}});
    if (!first) return first;
    before = std::move(*first);
    std::this_thread::sleep_for(std::chrono::duration<double>(interval_s));
  }
  auto after = client.ask({{"command", "cores"}});
  if (!after) return after;
  return core_rates(before, *after);
}

tl::expected<Json, ClientError> fetch(Client& client, const std::string& command,
                                      const Options& options) {
  if (command == "connections") return all_connections(client);
  if (command == "cores") return cores(client, options.interval_s);
  if (command == "policy") return client.ask({{"command", command}, {"name", options.policy}});
  return client.ask({{"command", command}});
}

void filter_json(Json& counters, const CounterFilter& filter) {
  if (filter.match.empty()) return;
  const auto keep = [&](Json& values) {
    Json kept = Json::object();
    for (const auto& [name, value] : values.items()) {
      if (name.find(filter.match) != std::string::npos) kept[name] = value;
    }
    values = std::move(kept);
  };
  if (counters.contains("counters")) keep(counters["counters"]);
  if (!counters.contains("workers")) return;
  for (Json& worker : counters["workers"]) {
    if (worker.contains("counters")) keep(worker["counters"]);
  }
}

tl::expected<std::string, ClientError> answer(const std::string& command, const Options& options) {
  auto client = Client::connect(options.socket);
  if (!client) return tl::unexpected(client.error());
  auto result = fetch(*client, command, options);
  if (!result) return tl::unexpected(result.error());
  if (options.output == "json") {
    if (command == "counters") filter_json(*result, options.filter);
    return result->dump(2) + '\n';
  }
  if (command == "status") return render_status(*result);
  if (command == "counters") return render_counters(*result, options.filter);
  if (command == "connections") return render_connections(*result);
  if (command == "cores") return render_cores(*result);
  if (command == "policies") return render_policies(*result);
  if (command == "policy") return render_policy(*result);
  return render_certs(*result);
}

void add_common(CLI::App& app, Options& options) {
  app.add_option("-o,--output", options.output, "table or json")
      ->check(CLI::IsMember({"table", "json"}));
  app.add_option("--socket", options.socket,
                 "sluice-control's admin socket (default: $SLUICE_ADMIN_SOCKET, "
                 "else /run/sluice/admin.sock)");
}

// `policy list` and `policy show NAME`; what was chosen, in the words of the admin socket.
void add_policy(CLI::App& app, Options& options) {
  CLI::App* policy = app.add_subcommand("policy", "What is offered in a handshake");
  policy->require_subcommand(1);
  add_common(*policy->add_subcommand("list", "Presets and configured policies"), options);
  CLI::App* show = policy->add_subcommand("show", "Versions, suites and groups of one");
  add_common(*show, options);
  show->add_option("name", options.policy, "The policy's name")->required();
}

std::string command_of(const CLI::App& app, const Options& options) {
  const std::string name = app.get_subcommands().front()->get_name();
  return name == "policy" && options.policy.empty() ? "policies" : name;
}

int run(int argc, char** argv) {
  Options options;
  options.socket = default_socket();
  CLI::App app("Looks into a running Sluice.");
  app.name("sluicectl");
  app.set_version_flag("--version", SLUICE_VERSION);
  app.require_subcommand(1);
  add_common(app, options);
  add_common(*app.add_subcommand("status", "Is it up, attached, and how are handshakes doing"),
             options);
  add_common(*app.add_subcommand("connections", "Every connection with its phase and bytes"),
             options);
  CLI::App* counters = app.add_subcommand("counters", "Counters of the workers");
  add_common(*counters, options);
  counters->add_flag("--all", options.filter.all, "Also counters that are zero");
  counters->add_option("--match", options.filter.match, "Only names that contain this");
  CLI::App* cores = app.add_subcommand("cores", "How busy each worker is and what it hands over");
  add_common(*cores, options);
  cores
      ->add_option("--interval", options.interval_s,
                   "seconds to look at (default 1); 0: since the dataplane's start")
      ->check(CLI::Range(0.0, 3600.0));
  add_common(*app.add_subcommand("certs", "The certificates and when they expire"), options);
  add_policy(app, options);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? code(ExitCode::Ok) : code(ExitCode::Usage);
  }
  const auto text = answer(command_of(app, options), options);
  if (!text) {
    std::fprintf(stderr, "sluicectl: %s\n", text.error().message.c_str());
    return code(text.error().code);
  }
  std::fputs(text->c_str(), stdout);
  return code(ExitCode::Ok);
}

}  // namespace
}  // namespace sluice::control::ctl

int main(int argc, char** argv) { return sluice::control::ctl::run(argc, argv); }
