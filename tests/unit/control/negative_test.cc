// Handshakes that must fail: the alert the client gets, the close reason the worker gets, and that
// the next connection is served as if nothing had been.
#include <gtest/gtest.h>

#include <thread>

#include "harness.h"

namespace sluice::control::testing {
namespace {

struct Case {
  const char* name;
  ClientOptions options;
  int alert;
};

ClientOptions with(uint16_t version, const char* host = "rsa.sluice.test") {
  ClientOptions options;
  options.version = version;
  options.server_name = host;
  return options;
}

std::vector<Case> cases() {
  std::vector<Case> out;
  out.push_back({"Tls10", with(TLS1_VERSION), SSL_AD_PROTOCOL_VERSION});
  out.push_back({"Tls11", with(TLS1_1_VERSION), SSL_AD_PROTOCOL_VERSION});
  ClientOptions cbc = with(TLS1_2_VERSION);
  cbc.suites = "ECDHE-RSA-AES128-SHA256:AES128-GCM-SHA256:ECDHE-RSA-CAMELLIA128-SHA256";
  out.push_back({"Tls12NoSharedCipher", cbc, SSL_AD_HANDSHAKE_FAILURE});
  ClientOptions ccm = with(TLS1_3_VERSION);
  ccm.suites = "TLS_AES_128_CCM_SHA256";
  out.push_back({"Tls13NoSharedCipher", ccm, SSL_AD_HANDSHAKE_FAILURE});
  ClientOptions rsa_only = with(TLS1_2_VERSION, "ecdsa.sluice.test");
  rsa_only.suites = "ECDHE-RSA-AES128-GCM-SHA256";
  out.push_back({"Tls12NoCertificateForCipher", rsa_only, SSL_AD_HANDSHAKE_FAILURE});
  ClientOptions groups = with(TLS1_3_VERSION);
  groups.groups = "P-521";
  out.push_back({"Tls13NoSharedGroup", groups, SSL_AD_HANDSHAKE_FAILURE});
  ClientOptions signatures = with(TLS1_3_VERSION, "ecdsa.sluice.test");
  signatures.signature_algorithms = "rsa_pss_rsae_sha256";
  out.push_back({"Tls13NoSharedSignature", signatures, SSL_AD_HANDSHAKE_FAILURE});
  for (const uint16_t version : {uint16_t{TLS1_2_VERSION}, uint16_t{TLS1_3_VERSION}}) {
    ClientOptions alpn = with(version);
    alpn.alpn = {"smtp", "h3"};
    out.push_back({version == TLS1_3_VERSION ? "Tls13Alpn" : "Tls12Alpn", alpn,
                   SSL_AD_NO_APPLICATION_PROTOCOL});
  }
  return out;
}

void expect_next_connection_served(Harness& harness) {
  Client client(with(TLS1_3_VERSION));
  FakeFlow& flow = harness.worker.begin();
  harness.run(client, flow, "next");
  harness.exchange(client, flow, "next");
  EXPECT_EQ(harness.service->in_flight(), 0U);
}

void expect_refused(Harness& harness, const ClientOptions& options, int alert) {
  Client client(options);
  FakeFlow& flow = harness.worker.begin();
  harness.run(client, flow);
  EXPECT_FALSE(flow.keys.has_value());
  ASSERT_TRUE(flow.closed.has_value());
  EXPECT_EQ(flow.closed->reason, static_cast<uint16_t>(abi::CloseReason::handshake_failed));
  EXPECT_EQ(flow.closed->reset, 0);
  EXPECT_EQ(client.alert_received(), alert);
}

class Refused : public ::testing::TestWithParam<Case> {};
INSTANTIATE_TEST_SUITE_P(Clients, Refused, ::testing::ValuesIn(cases()),
                         [](const auto& row) { return row.param.name; });

TEST_P(Refused, WithItsAlert) {
  Harness harness;
  expect_refused(harness, GetParam().options, GetParam().alert);
  EXPECT_EQ(harness.stats.failed.load(), 1U);
  expect_next_connection_served(harness);
}

TEST(ServerName, UnknownIsRefusedWhereConfigured) {
  ControlConfig config = test_pki().config;
  config.tls.unknown_sni = UnknownSni::Reject;
  Harness harness(config);
  for (const uint16_t version : {uint16_t{TLS1_2_VERSION}, uint16_t{TLS1_3_VERSION}}) {
    expect_refused(harness, with(version, "unknown.test"), SSL_AD_UNRECOGNIZED_NAME);
    expect_refused(harness, with(version, "a.b.wild.sluice.test"), SSL_AD_UNRECOGNIZED_NAME);
  }
  expect_next_connection_served(harness);
}

std::string served_name(Harness& harness, const ClientOptions& options) {
  Client client(options);
  FakeFlow& flow = harness.worker.begin();
  harness.run(client, flow);
  if (!flow.keys) return "refused";
  const X509* certificate = SSL_get0_peer_certificate(client.ssl());
  char name[128] = {};
  X509_NAME_get_text_by_NID(X509_get_subject_name(certificate), NID_commonName, name, sizeof name);
  return name;
}

TEST(ServerName, ChoosesTheCertificate) {
  Harness harness;
  struct Row {
    const char* server_name;
    const char* served;
  };
  constexpr Row kRows[] = {
      {"rsa.sluice.test", "rsa"},
      {"RSA.Sluice.TEST", "rsa"},
      {"ecdsa.sluice.test", "ecdsa"},
      {"a.wild.sluice.test", "wild"},
      {"A.WILD.sluice.test", "wild"},
      {"exact.wild.sluice.test", "ecdsa"},
      {"a.b.wild.sluice.test", "rsa"},  // a wildcard stands for one label: the default host
      {"wild.sluice.test", "rsa"},
      {"unknown.test", "rsa"},
      {"", "rsa"},
      {"bad..name", "rsa"},
      {"rsa.sluice.test.", "rsa"},
      {"under_score.wild.sluice.test", "wild"},
  };
  for (const uint16_t version : {uint16_t{TLS1_2_VERSION}, uint16_t{TLS1_3_VERSION}}) {
    for (const Row& row : kRows) {
      EXPECT_EQ(served_name(harness, with(version, row.server_name)), row.served)
          << "\"" << row.server_name << "\"";
    }
  }
}

TEST(ServerName, DualHostFollowsTheClientsAlgorithms) {
  Harness harness;
  ClientOptions options = with(TLS1_3_VERSION, "dual.sluice.test");
  options.signature_algorithms = "rsa_pss_rsae_sha256";
  EXPECT_EQ(served_name(harness, options), "dual-rsa");
  options.signature_algorithms = "ecdsa_secp256r1_sha256";
  EXPECT_EQ(served_name(harness, options), "dual-ecdsa");
  options = with(TLS1_2_VERSION, "dual.sluice.test");
  options.suites = "ECDHE-RSA-AES256-GCM-SHA384";
  EXPECT_EQ(served_name(harness, options), "dual-rsa");
  options.suites = "ECDHE-ECDSA-AES256-GCM-SHA384";
  EXPECT_EQ(served_name(harness, options), "dual-ecdsa");
}

TEST(Alpn, ServerPreferenceAndBackend) {
  struct Row {
    const char* host;
    std::vector<std::string> offered;
    const char* agreed;
    const char* backend;
  };
  const Row rows[] = {
      {"rsa.sluice.test", {"http/1.1", "h2"}, "h2", "10.99.2.2:8081"},
      {"rsa.sluice.test", {"http/1.1"}, "http/1.1", "10.99.2.2:8080"},
      {"rsa.sluice.test", {"x", "http/1.1"}, "http/1.1", "10.99.2.2:8080"},
      {"rsa.sluice.test", {}, "", "10.99.2.2:8080"},
      {"ecdsa.sluice.test", {"h2"}, "", "10.99.2.2:8080"},  // no alpn configured: not answered
      {"exact.wild.sluice.test", {}, "", "10.99.2.2:8081"},
  };
  Harness harness;
  for (const Row& row : rows) {
    ClientOptions options = with(TLS1_3_VERSION, row.host);
    options.alpn = row.offered;
    Client client(options);
    FakeFlow& flow = harness.worker.begin();
    harness.run(client, flow);
    ASSERT_TRUE(flow.keys.has_value());
    const std::string agreed(reinterpret_cast<const char*>(flow.keys->alpn),
                             flow.keys->alpn_length);
    EXPECT_EQ(agreed, row.agreed);
    EXPECT_EQ(abi::to_string(flow.keys->backend), row.backend);
  }
}

// ---- Bytes that no client of OpenSSL sends.

std::vector<uint8_t> record(uint8_t type, const std::vector<uint8_t>& payload) {
  std::vector<uint8_t> out = {type, 3, 1, static_cast<uint8_t>(payload.size() >> 8),
                              static_cast<uint8_t>(payload.size())};
  for (const uint8_t byte : payload) out.push_back(byte);
  return out;
}

int alert_in(const std::vector<uint8_t>& sent) {
  return sent.size() == 7 && sent[0] == 21 ? sent[6] : -1;
}

TEST(BadBytes, GarbageRecords) {
  struct Row {
    const char* name;
    std::vector<uint8_t> bytes;
    int alert;
  };
  const Row rows[] = {
      {"a message of type 99", record(22, {99, 0, 0, 1, 0}), SSL_AD_UNEXPECTED_MESSAGE},
      {"a ClientHello of one byte", record(22, {1, 0, 0, 1, 0}), SSL_AD_DECODE_ERROR},
      {"a ClientHello of 2^24 bytes", record(22, {1, 255, 255, 255, 0}), SSL_AD_ILLEGAL_PARAMETER},
      {"application data first", record(23, {1, 2, 3}), SSL_AD_UNEXPECTED_MESSAGE},
      {"ChangeCipherSpec first", record(20, {1}), SSL_AD_UNEXPECTED_MESSAGE},
  };
  Harness harness;
  for (const Row& row : rows) {
    FakeFlow& flow = harness.worker.begin();
    harness.worker.client_sends(flow, row.bytes);
    harness.settle();
    ASSERT_TRUE(flow.closed.has_value()) << row.name;
    EXPECT_EQ(alert_in(flow.sent), row.alert) << row.name;
  }
  expect_next_connection_served(harness);
}

TEST(BadBytes, EmptyRecordsAreRefused) {
  Harness harness;
  FakeFlow& flow = harness.worker.begin();
  for (int i = 0; i < 40; ++i) {
    harness.worker.client_sends(flow, record(22, {}));
    harness.settle();
  }
  ASSERT_TRUE(flow.closed.has_value());
  EXPECT_EQ(alert_in(flow.sent), SSL_AD_UNEXPECTED_MESSAGE);
}

TEST(BadBytes, AlertOfTheClientIsItsReason) {
  Harness harness;
  Client client(with(TLS1_2_VERSION));
  FakeFlow& flow = harness.worker.begin();
  client.advance();
  harness.worker.client_sends(flow, client.take_output());
  harness.settle();
  harness.worker.client_sends(flow, record(21, {2, SSL_AD_UNKNOWN_CA}));
  harness.settle();
  ASSERT_TRUE(flow.closed.has_value());
  EXPECT_EQ(flow.closed->reason, static_cast<uint16_t>(abi::CloseReason::client_alert));
  EXPECT_EQ(flow.closed->reset, 0);
}

TEST(BadBytes, FlippedFinished) {
  for (const uint16_t version : {uint16_t{TLS1_2_VERSION}, uint16_t{TLS1_3_VERSION}}) {
    Harness harness;
    Client client(with(version));
    FakeFlow& flow = harness.worker.begin();
    client.advance();
    harness.worker.client_sends(flow, client.take_output());
    harness.settle();
    client.input(flow.to_client);
    client.advance();
    std::vector<uint8_t> flight = client.take_output();
    flight.back() ^= 1;
    harness.worker.client_sends(flow, flight);
    harness.settle();
    EXPECT_FALSE(flow.keys.has_value());
    ASSERT_TRUE(flow.closed.has_value());
    flow.to_client.clear();
  }
}

TEST(BadBytes, EndlessHandshakeIsCutOff) {
  Harness harness;
  FakeFlow& flow = harness.worker.begin();
  // A ClientHello of 128 KiB in records of 16 KiB is refused by OpenSSL for its length; records
  // that carry one byte each of a legal one are bounded by kMaxHandshakeBytes.
  std::vector<uint8_t> message = {1, 0x01, 0xff, 0x00};
  message.resize(0x1ff00 + 4);
  for (size_t at = 0; at < message.size() && !flow.closed; ++at) {
    harness.worker.client_sends(flow, record(22, {message[at]}));
    harness.settle();
  }
  ASSERT_TRUE(flow.closed.has_value());
  EXPECT_LE(flow.handed_over, abi::kMaxHandshakeBytes);
  expect_next_connection_served(harness);
}

TEST(Deadline, TruncatedHelloEndsWithoutReset) {
  ControlConfig config = test_pki().config;
  config.dataplane.handshake_wait_ms = 60;
  Harness harness(config);
  FakeFlow& nothing = harness.worker.begin();
  FakeFlow& half = harness.worker.begin();
  Client client(with(TLS1_3_VERSION));
  client.advance();
  std::vector<uint8_t> hello = client.take_output();
  hello.resize(hello.size() / 2);
  harness.worker.client_sends(half, hello);
  harness.settle();
  EXPECT_FALSE(half.closed.has_value());
  std::this_thread::sleep_for(std::chrono::milliseconds(80));
  harness.settle();
  for (const FakeFlow* flow : {&nothing, &half}) {
    ASSERT_TRUE(flow->closed.has_value());
    EXPECT_EQ(flow->closed->reason, static_cast<uint16_t>(abi::CloseReason::handshake_timeout));
    EXPECT_EQ(flow->closed->reset, 0);
  }
  EXPECT_EQ(harness.service->in_flight(), 0U);
}

TEST(Deadline, BehindTheServersFlightIsAReset) {
  ControlConfig config = test_pki().config;
  config.dataplane.handshake_wait_ms = 60;
  Harness harness(config);
  FakeFlow& flow = harness.worker.begin();
  Client client(with(TLS1_3_VERSION));
  client.advance();
  harness.worker.client_sends(flow, client.take_output());
  harness.settle();
  EXPECT_FALSE(flow.sent.empty());
  std::this_thread::sleep_for(std::chrono::milliseconds(80));
  harness.settle();
  ASSERT_TRUE(flow.closed.has_value());
  EXPECT_EQ(flow.closed->reset, 1);
}

}  // namespace
}  // namespace sluice::control::testing
