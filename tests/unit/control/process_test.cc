// The two programs as an operator meets them: arguments, exit codes, start and stop, the sandbox.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>
#include <thread>

#include "control/handshake/policy.h"
#include "test_certificates.h"

extern char** environ;

namespace sluice::control::testing {
namespace {

using ::testing::HasSubstr;

std::string read_file(const std::string& path) {
  std::ostringstream out;
  out << std::ifstream(path).rdbuf();
  return out.str();
}

class Process {
 public:
  Process(std::vector<std::string> arguments, const std::string& output) {
    std::vector<char*> argv;
    for (std::string& argument : arguments) argv.push_back(argument.data());
    argv.push_back(nullptr);
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, 1, output.c_str(), O_WRONLY | O_CREAT | O_TRUNC,
                                     0600);
    posix_spawn_file_actions_adddup2(&actions, 1, 2);
    EXPECT_EQ(posix_spawn(&pid_, argv[0], &actions, nullptr, argv.data(), environ), 0);
    posix_spawn_file_actions_destroy(&actions);
  }
  ~Process() {
    if (pid_ <= 0) return;
    kill(pid_, SIGKILL);
    wait();
  }
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;
  int wait() {
    int status = 0;
    waitpid(pid_, &status, 0);
    pid_ = 0;
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  }
  void terminate() const { kill(pid_, SIGTERM); }
  pid_t pid() const { return pid_; }

 private:
  pid_t pid_ = 0;
};

class Programs : public ::testing::Test {
 protected:
  Programs() {
    handshake::initialise_openssl();
    TestCa(directory_).issue("a", TestKey::EcP256, {"a.test"});
    directory_.write("sluice.toml", R"([dataplane]
control_socket = "run/dataplane.sock"
workers = [1]
[[port]]
name = "client"
device = "net_null0"
addresses = ["10.99.1.10/16"]
[[listener]]
name = "https"
address = "10.99.1.10:443"
protocol = "tls"
[[backend]]
name = "files"
address = "10.99.2.2:8080"
[control]
admin_socket = "run/admin.sock"
[[host]]
names = ["a.test"]
certificates = [{ chain = "a.pem", key = "a.key" }]
backend = "files"
default = true
)");
  }
  std::string config() const { return directory_.file("sluice.toml"); }
  std::string socket() const { return directory_.file("run/admin.sock"); }
  int run(std::vector<std::string> arguments) {
    const int status = Process(std::move(arguments), directory_.file("out")).wait();
    output_ = read_file(directory_.file("out"));
    return status;
  }
  int ctl(std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), SLUICECTL);
    return run(std::move(arguments));
  }
  bool wait_until_up() {
    for (int i = 0; i < 500; ++i) {
      if (ctl({"--socket", socket(), "status"}) == 0) return true;
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    return false;
  }
  TempDirectory directory_;
  std::string output_;
};

TEST_F(Programs, CheckValidates) {
  EXPECT_EQ(run({SLUICE_CONTROL, "--config", config(), "--check"}), 0);
  EXPECT_THAT(output_, HasSubstr("the configuration is valid"));
  directory_.write("bad.toml", read_file(config()) + "unknown_key = 1\n");
  EXPECT_EQ(run({SLUICE_CONTROL, "--config", directory_.file("bad.toml"), "--check"}), 1);
  EXPECT_THAT(output_, HasSubstr("bad.toml:22:1: unknown key"));
  EXPECT_EQ(std::count(output_.begin(), output_.end(), '\n'), 1) << output_;
  EXPECT_EQ(run({SLUICE_CONTROL, "--config", directory_.file("bad.toml")}), 1);
  EXPECT_EQ(access(socket().c_str(), F_OK), -1) << "something was started";
}

TEST_F(Programs, CheckWarnsOfWhatAPolicyLeavesOut) {
  directory_.write("lab.toml", read_file(config()) + R"(policy = "lab"
[policy.lab]
ciphers = "ECDHE+AESGCM:RC4:PSK-AES128-GCM-SHA256"
)");
  EXPECT_EQ(run({SLUICE_CONTROL, "--config", directory_.file("lab.toml"), "--check"}), 0);
  EXPECT_THAT(output_, HasSubstr("warning: policy lab: RC4 is left out: "));
  EXPECT_THAT(output_, HasSubstr("warning: policy lab: PSK-AES128-GCM-SHA256 is left out: "));
  directory_.write("none.toml", read_file(config()) + R"([policy.none]
minimum_version = "1.2"
maximum_version = "1.2"
ciphers = "PSK:SRP:aNULL:eNULL"
)");
  EXPECT_EQ(run({SLUICE_CONTROL, "--config", directory_.file("none.toml"), "--check"}), 1);
  EXPECT_THAT(output_, HasSubstr("none.toml:22:1: nothing is left of this policy"));
  EXPECT_EQ(std::count(output_.begin(), output_.end(), '\n'), 1) << output_;
}

TEST_F(Programs, Usage) {
  EXPECT_EQ(run({SLUICE_CONTROL}), 2);
  EXPECT_EQ(run({SLUICE_CONTROL, "--config", config(), "--bogus"}), 2);
  EXPECT_EQ(run({SLUICE_CONTROL, "--help"}), 0);
  EXPECT_EQ(run({SLUICE_CONTROL, "--version"}), 0);
  EXPECT_EQ(ctl({}), 2);
  EXPECT_EQ(ctl({"reboot"}), 2);
  EXPECT_EQ(ctl({"status", "-o", "xml"}), 2);
  EXPECT_EQ(ctl({"status", "--match", "x"}), 2);
  EXPECT_EQ(ctl({"--help"}), 0);
  EXPECT_EQ(ctl({"--socket", socket(), "status"}), 3);
  EXPECT_EQ(ctl({"status", "--socket", "/" + std::string(200, 'x')}), 2);
}

TEST_F(Programs, StartAskStop) {
  Process control({SLUICE_CONTROL, "--config", config()}, directory_.file("log"));
  ASSERT_TRUE(wait_until_up()) << read_file(directory_.file("log"));
  EXPECT_THAT(output_, HasSubstr("not attached"));
  EXPECT_EQ(ctl({"certs", "--socket", socket()}), 0);
  EXPECT_THAT(output_, HasSubstr("ECDSA P-256"));
  EXPECT_EQ(ctl({"--socket", socket(), "-o", "json", "status"}), 0);
  EXPECT_EQ(nlohmann::json::parse(output_)["pid"], control.pid());
  EXPECT_EQ(ctl({"status", "-o", "json", "--socket", socket()}), 0);
  setenv("SLUICE_ADMIN_SOCKET", socket().c_str(), 1);
  EXPECT_EQ(ctl({"status"}), 0);
  unsetenv("SLUICE_ADMIN_SOCKET");
  EXPECT_EQ(ctl({"policy", "list", "--socket", socket()}), 0);
  EXPECT_THAT(output_, HasSubstr("old-5.8"));
  EXPECT_EQ(ctl({"policy", "show", "intermediate-5.8", "--socket", socket()}), 0);
  EXPECT_THAT(output_, HasSubstr("TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256"));
  EXPECT_THAT(output_, HasSubstr("TLS 1.2 to 1.3"));
  EXPECT_EQ(ctl({"policy", "show", "none", "--socket", socket()}), 1);
  EXPECT_EQ(ctl({"policy", "--socket", socket()}), 2);
  EXPECT_EQ(ctl({"counters", "--socket", socket()}), 1);  // refused: not attached
  EXPECT_EQ(ctl({"connections", "--socket", socket()}), 1);

  const std::string status = read_file("/proc/" + std::to_string(control.pid()) + "/status");
  const bool sanitized = read_file(directory_.file("log")).find("sanitizers") != std::string::npos;
  EXPECT_THAT(status, HasSubstr(sanitized ? "Seccomp:\t0" : "Seccomp:\t2"));
  EXPECT_THAT(status, HasSubstr("NoNewPrivs:\t1"));

  Process second({SLUICE_CONTROL, "--config", config()}, directory_.file("log2"));
  EXPECT_EQ(second.wait(), 1);
  EXPECT_THAT(read_file(directory_.file("log2")), HasSubstr("another process answers"));

  control.terminate();
  EXPECT_EQ(control.wait(), 0);
  EXPECT_THAT(read_file(directory_.file("log")), HasSubstr("sluice-control has stopped"));
  EXPECT_EQ(ctl({"--socket", socket(), "status"}), 3);

  // What the first left behind is in nobody's way.
  Process third({SLUICE_CONTROL, "--config", config()}, directory_.file("log"));
  EXPECT_TRUE(wait_until_up());
}

}  // namespace
}  // namespace sluice::control::testing
