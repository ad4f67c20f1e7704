// sluice-control: handshakes, certificates, configuration and the admin socket of Sluice.
//
// The order of the start matters: OpenSSL's allocator before any other call into OpenSSL; the
// configuration, with every certificate, before anything has an effect; memory and core limits
// before keys are in use; signals blocked before the first thread; the sandbox once everything that
// needs a path has been opened. See README.md.
#include <CLI/CLI.hpp>
#include <csignal>
#include <cstdio>
#include <string>

#include "abi/log/log.h"
#include "control/config.h"
#include "control/handshake/policy.h"
#include "control/memory.h"
#include "control/sandbox.h"
#include "control/server.h"

namespace sluice::control {
namespace {

constexpr int kExitFailure = 1;
constexpr int kExitUsage = 2;

void block_signals() {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGTERM);
  sigaddset(&set, SIGINT);
  pthread_sigmask(SIG_BLOCK, &set, nullptr);
  std::signal(SIGPIPE, SIG_IGN);
}

int serve(ControlConfig config) {
  log::configure(config.log_format, config.log_level);
  for (const std::string& warning : config.warnings) log::warning(warning);
  protect_memory();
  if (const std::string error = pin_to_processors(config.processors); !error.empty()) {
    log::error(error);
    return kExitFailure;
  }
  block_signals();
  const std::string user = config.user;
  auto server = Server::create(std::move(config));
  if (!server) {
    log::error(server.error());
    return kExitFailure;
  }
  if (const std::string error = drop_privileges(user); !error.empty()) {
    log::error(error);
    return kExitFailure;
  }
  (*server)->start_threads();
  if (const std::string error = enter_seccomp(); !error.empty()) {
    log::error(error);
    return kExitFailure;
  }
  return (*server)->run();
}

int run(int argc, char** argv) {
  CLI::App app("The control process of Sluice: TLS handshakes for sluice-dataplane.");
  app.name("sluice-control");
  std::string path;
  bool check = false;
  app.add_option("--config", path, "The configuration file (TOML)")->required();
  app.add_flag("--check", check, "Validate the configuration and exit");
  app.set_version_flag("--version", SLUICE_VERSION);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : kExitUsage;
  }
  handshake::initialise_openssl();
  auto config = load_control_config(path);
  if (!config) {
    std::fprintf(stderr, "%s\n", config.error().to_string().c_str());
    return kExitFailure;
  }
  if (!check) return serve(std::move(*config));
  for (const std::string& warning : config->warnings) {
    std::fprintf(stderr, "warning: %s\n", warning.c_str());
  }
  std::printf("%s: the configuration is valid\n", path.c_str());
  return 0;
}

}  // namespace
}  // namespace sluice::control

int main(int argc, char** argv) {
  if (!sluice::control::install_wiping_allocator()) {
    std::fprintf(stderr, "sluice-control: OpenSSL was in use before its allocator was set\n");
    return 1;
  }
  return sluice::control::run(argc, argv);
}
