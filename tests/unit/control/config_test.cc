// The configuration: what a complete file gives, and the place and words of each error.
#include "control/config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "control/handshake/policy.h"
#include "test_certificates.h"

namespace sluice::control::testing {
namespace {

using ::testing::HasSubstr;

constexpr char kDataplane[] = R"([dataplane]
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
[[backend]]
name = "files-h2c"
address = "10.99.2.2:8081"
)";

struct Fixture {
  Fixture() {
    handshake::initialise_openssl();
    ca.issue("a", TestKey::EcP256, {"a.test", "*.w.test"});
    ca.issue("rsa", TestKey::Rsa2048, {"a.test"});
    ca.issue("old", TestKey::EcP256, {"a.test"}, -1);
  }
  TempDirectory directory;
  TestCa ca{directory};
};

Fixture& fixture() {
  static Fixture instance;
  return instance;
}

tl::expected<ControlConfig, abi::config::Error> load(const std::string& text) {
  fixture().directory.write("sluice.toml", kDataplane + text);
  return load_control_config(fixture().directory.file("sluice.toml"));
}

// A host that is right, to stand beside what is wrong.
constexpr char kHost[] = R"([[host]]
names = ["a.test"]
certificates = [{ chain = "a.pem", key = "a.key" }]
backend = "files"
default = true
)";

TEST(Config, Complete) {
  const auto config = load(R"([control]
admin_socket = "run/admin.sock"
handshake_threads = 3
processors = [0, 1]
log_format = "json"
log_level = "debug"
[tls]
policy = "modern-5.8"
unknown_sni = "reject"
[policy.lab]
base = "old-5.8"
maximum_version = "1.2"
ciphers = "ECDHE+AESGCM:@SECLEVEL=1"
groups = "P-384:secp256r1"
preference = "chacha-first"
[[host]]
names = ["A.test", "*.w.test"]
policy = "lab"
certificates = [{ chain = "a.pem", key = "a.key" }, { chain = "rsa.pem", key = "rsa.key" }]
alpn = ["h2", "http/1.1"]
backend = "files"
backend_by_alpn = { h2 = "files-h2c" }
)");
  ASSERT_TRUE(config.has_value()) << config.error().to_string();
  EXPECT_EQ(config->admin_socket, fixture().directory.file("run/admin.sock"));
  EXPECT_EQ(config->handshake_threads, 3U);
  EXPECT_THAT(config->processors, ::testing::ElementsAre(0, 1));
  EXPECT_EQ(config->log_format, log::Format::Json);
  EXPECT_EQ(config->log_level, log::Level::Debug);
  EXPECT_EQ(config->policies[config->tls.policy].name, "modern-5.8");
  EXPECT_EQ(config->tls.unknown_sni, UnknownSni::Reject);
  ASSERT_EQ(config->hosts.size(), 1U);
  const HostConfig& host = config->hosts[0];
  EXPECT_THAT(host.names, ::testing::ElementsAre("a.test", "*.w.test"));
  const handshake::Policy& policy = config->policies[host.policy];
  EXPECT_EQ(policy.name, "lab");
  EXPECT_EQ(policy.maximum_version, 0x0303);
  EXPECT_EQ(policy.security_level, 1);
  EXPECT_EQ(handshake::join_names(policy.groups), "P-384:P-256");
  EXPECT_EQ(policy.preference, handshake::Preference::ChachaFirst);
  EXPECT_EQ(host.certificates.size(), 2U);
  EXPECT_EQ(config->dataplane.backends[host.backend].name, "files");
  ASSERT_EQ(host.backend_by_alpn.size(), 1U);
  EXPECT_EQ(config->dataplane.backends[host.backend_by_alpn[0].backend].name, "files-h2c");
  // rsa.pem is not valid for *.w.test; TLS 1.0 and 1.1 are what is left out of the policy.
  EXPECT_THAT(config->warnings,
              ::testing::ElementsAre(HasSubstr("not valid for *.w.test"),
                                     HasSubstr("policy lab: TLS 1.0 is left out"),
                                     HasSubstr("policy lab: TLS 1.1 is left out")));
}

TEST(Config, Defaults) {
  const auto config = load(kHost);
  ASSERT_TRUE(config.has_value()) << config.error().to_string();
  EXPECT_EQ(config->handshake_threads, 1U);
  EXPECT_EQ(config->policies[config->tls.policy].name, "intermediate-5.8");
  EXPECT_EQ(config->hosts[0].policy, config->tls.policy);
  EXPECT_EQ(config->tls.unknown_sni, UnknownSni::Default);
  EXPECT_EQ(config->log_level, log::Level::Info);
  EXPECT_TRUE(config->hosts[0].is_default);
  EXPECT_TRUE(config->warnings.empty());
}

TEST(Config, ExpiredCertificateIsAWarning) {
  std::string host = kHost;
  host.replace(host.find("a.pem"), 5, "old.pem");
  host.replace(host.find("a.key"), 5, "old.key");
  const auto config = load(host);
  ASSERT_TRUE(config.has_value()) << config.error().to_string();
  EXPECT_THAT(config->warnings, ::testing::ElementsAre(HasSubstr("has expired")));
}

TEST(Config, ErrorsNameThePlaceAndTheRemedy) {
  const std::string good = kHost;
  const auto host = [&](const char* what, const char* with) {
    std::string text = good;
    text.replace(text.find(what), std::string(what).size(), with);
    return text;
  };
  struct Case {
    std::string text;
    std::string blamed;  // what stands first in the line that is to be blamed
    std::string words;   // of the message
  };
  const Case cases[] = {
      {"[control]\nadmin_sockt = \"x\"\n" + good, "admin_sockt", "admin_socket"},
      {"[control]\nhandshake_threads = 9\n" + good, "handshake_threads = 9", "8"},
      {"[control]\nlog_format = \"xml\"\n" + good, "log_format = \"xml\"", "json"},
      {"[control]\nprocessors = [-1]\n" + good, "processors = [-1]", ""},
      {"[control]\nadmin_socket = \"" + std::string(120, 'x') + "\"\n" + good, "admin_socket",
       "107"},
      {"[tls]\nminimum_version = \"1.2\"\n" + good, "minimum_version", "policy"},
      {"[tls]\npolicy = \"modern-5.9\"\n" + good, "policy =", "modern-5.8"},
      {"[tls]\npolicy = \"lab\"\n" + good, "policy =", "[policy.lab]"},
      {"[policy.\"modern-5.8\"]\n" + good, "[policy.\"modern", "preset"},
      {"[policy.a]\nbase = \"b\"\n" + good, "base", "intermediate-5.8"},
      {"[policy.a]\nminimum_version = \"3.0\"\n" + good, "minimum_version", "1.0"},
      {"[policy.a]\nminimum_version = \"1.3\"\nmaximum_version = \"1.2\"\n" + good,
       "minimum_version = \"1.3\"", "above"},
      {"[policy.a]\nciphers = \"NOTHING\"\n" + good, "ciphers", "openssl ciphers"},
      {"[policy.a]\nciphersuites = \"TLS_AES_512\"\n" + good, "ciphersuites", "TLS 1.3"},
      {"[policy.a]\ngroups = \"X25519:P-257\"\n" + good, "groups", "P-256"},
      {"[policy.a]\ngroups = \"P-256:prime256v1\"\n" + good, "groups", "twice"},
      {"[policy.a]\ndh_groups = \"X25519\"\n" + good, "dh_groups", "ffdhe2048"},
      {"[policy.a]\nsignature_algorithms = \"rsa_md2\"\n" + good, "signature_algorithms",
       "rsa_pss_rsae_sha256"},
      {"[policy.a]\npreference = \"ours\"\n" + good, "preference", "chacha-first"},
      {"[policy.a]\nmaximum_version = \"1.2\"\nciphers = \"PSK:aNULL\"\n" + good, "[policy.a]",
       "nothing is left"},
      {"[tls]\npolicy = \"a\"\n[policy.a]\nciphers = \"NOTHING\"\n" + good, "ciphers",
       "openssl ciphers"},
      {"[tls]\npolicy = \"a\"\n[policy.a]\nciphers = \"ALL:@SECLEVEL=5\"\n"
       "groups = \"P-521\"\n" +
           good,
       "certificates = ", "128 bits of strength"},
      {"[tls]\npolicy = \"a\"\n[policy.a]\nsignature_algorithms = \"RSA+SHA256\"\n" + good,
       "certificates = ", "no suite or no signature"},
      {"[tls]\nunknown_sni = 3\n" + good, "unknown_sni = 3", "reject"},
      {"[tsl]\nunknown_sni = \"reject\"\n" + good, "[tsl]", "tls"},
      {host("names = [\"a.test\"]", "names = [\"a..test\"]"), "names = ", "not a host name"},
      {host("names = [\"a.test\"]", "names = [\"a.test\", \"A.TEST\"]"), "names = ", "twice"},
      {host("a.pem", "b.pem"), "certificates = ", "No such file"},
      {host("a.key", "rsa.key"), "certificates = ", "does not belong"},
      {host("backend = \"files\"", "backend = \"fils\""), "backend = \"fils\"", "files"},
      {host("default = true", "default = 1"), "default = 1", ""},
      {host("default = true", "alpn = [\"h2\", \"h2\"]\ndefault = true"), "alpn", "twice"},
      {host("default = true", "default = true\nbackend_by_alpn = { h2 = \"files-h2c\" }"),
       "backend_by_alpn", "not in this host's alpn"},
      {host("default = true", "default = false"), "[[host]]", "default = true"},
      {host("{ chain = \"a.pem\", key = \"a.key\" }",
            "{ chain = \"a.pem\", key = \"a.key\" }, { chain = \"a.pem\", key = \"a.key\" }"),
       "certificates = ", "at most one RSA and one ECDSA"},
      {good + host("a.test", "b.test"), "default = true", "keep default = true in one"},
      {"", "", "host"},
  };
  for (const Case& row : cases) {
    const auto config = load(row.text);
    ASSERT_FALSE(config.has_value()) << row.text;
    const abi::config::Error& error = config.error();
    EXPECT_THAT(error.to_string(), HasSubstr("sluice.toml")) << row.text;
    EXPECT_THAT(error.message, HasSubstr(row.words));
    EXPECT_THAT(error.message, ::testing::AnyOf(HasSubstr(";"), HasSubstr("did you mean")))
        << "no remedy: " << error.message;
    if (row.blamed.empty()) continue;
    const std::string text = kDataplane + row.text;
    const size_t start = text.rfind(row.blamed);
    const auto expected =
        1 + std::count(text.begin(), text.begin() + static_cast<ptrdiff_t>(start), '\n');
    EXPECT_EQ(error.line, static_cast<uint32_t>(expected)) << error.to_string();
    EXPECT_GE(error.column, 1U);
  }
}

TEST(Config, MissingFile) {
  const auto config = load_control_config("/nonexistent/sluice.toml");
  ASSERT_FALSE(config.has_value());
  EXPECT_THAT(config.error().to_string(), HasSubstr("/nonexistent/sluice.toml"));
}

}  // namespace
}  // namespace sluice::control::testing
