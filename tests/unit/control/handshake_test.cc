// The hand-over: after each kind of handshake the installed keys must open what the client sends
// and seal what it can read, from the right sequence and nonce on.
#include <gtest/gtest.h>

#include <algorithm>

#include "crypto/suite.h"
#include "harness.h"

namespace sluice::control::testing {
namespace {

struct Case {
  std::string name;
  uint16_t version;
  const crypto::Suite* suite;
  bool encrypt_then_mac;

  [[nodiscard]] bool ecdsa() const {
    return suite->iana_name.find("_ECDSA_") != std::string_view::npos;
  }
};

// Every suite in every version that has it, CBC with and without encrypt_then_mac.
std::vector<Case> all_cases() {
  std::vector<Case> cases;
  for (const crypto::Suite& suite : crypto::all_suites()) {
    for (const crypto::TlsVersion valid : {crypto::TlsVersion::Tls10, crypto::TlsVersion::Tls11,
                                           crypto::TlsVersion::Tls12, crypto::TlsVersion::Tls13}) {
      if (!suite.is_valid_in(valid)) continue;
      const auto version = static_cast<uint16_t>(valid);
      for (const bool encrypt_then_mac : {false, true}) {
        if (encrypt_then_mac && !suite.is_cbc()) continue;
        std::string name = std::string(suite.openssl_name) + "_" + std::to_string(version & 0xff);
        std::replace(name.begin(), name.end(), '-', '_');
        cases.push_back(
            {name + (encrypt_then_mac ? "_EtM" : ""), version, &suite, encrypt_then_mac});
      }
    }
  }
  return cases;
}

std::vector<Case> cases_where(bool (*wanted)(const Case&)) {
  std::vector<Case> cases = all_cases();
  std::erase_if(cases, [wanted](const Case& row) { return !wanted(row); });
  return cases;
}

// Behind the ServerHello: in TLS 1.3 every record of application data, before it the Finished.
size_t longest_protected_record(ByteVector sent) {
  size_t longest = 0;
  for (const ByteVector& record : take_records(sent)) {
    if (record[0] == 23) longest = std::max(longest, record.size() - 5);
  }
  return longest;
}

const auto kName = [](const auto& row) { return row.param.name; };

// All that a worker can carry on with is served.
const ControlConfig& everything() {
  static const ControlConfig kConfig = [] {
    handshake::PolicySpec spec = *handshake::find_preset("old-5.8");
    spec.ciphers = "ALL:@SECLEVEL=0";
    return with_policy(spec);
  }();
  return kConfig;
}

class HandOver : public ::testing::TestWithParam<Case> {
 protected:
  ClientOptions options() const {
    ClientOptions options;
    options.version = GetParam().version;
    options.suites = GetParam().suite->openssl_name;
    if (GetParam().version != TLS1_3_VERSION) options.suites += ":@SECLEVEL=0";
    options.encrypt_then_mac = GetParam().encrypt_then_mac;
    options.server_name = GetParam().ecdsa() ? "ecdsa.sluice.test" : "rsa.sluice.test";
    return options;
  }
  bool tls13() const { return GetParam().version == TLS1_3_VERSION; }
};

INSTANTIATE_TEST_SUITE_P(Suites, HandOver, ::testing::ValuesIn(all_cases()), kName);
class HandOverTls13 : public HandOver {};
INSTANTIATE_TEST_SUITE_P(
    Suites, HandOverTls13,
    ::testing::ValuesIn(cases_where([](const Case& row) { return row.version == 0x0304; })), kName);
class HandOverLegacy : public HandOver {};
INSTANTIATE_TEST_SUITE_P(
    Suites, HandOverLegacy,
    ::testing::ValuesIn(cases_where([](const Case& row) { return row.version != 0x0304; })), kName);

TEST_P(HandOver, FullHandshake) {
  Harness harness(everything());
  Client client(options());
  FakeFlow& flow = harness.worker.begin();
  harness.run(client, flow);
  ASSERT_TRUE(flow.keys.has_value());
  EXPECT_EQ(flow.keys->version, GetParam().version);
  EXPECT_EQ(flow.keys->suite, GetParam().suite->id);
  EXPECT_EQ(flow.keys->encrypt_then_mac, GetParam().encrypt_then_mac ? 1 : 0);
  EXPECT_EQ(flow.keys->open.sequence, tls13() ? 0U : 1U);
  EXPECT_EQ(flow.keys->seal.sequence, tls13() ? 2U : 1U);  // two tickets in TLS 1.3
  EXPECT_EQ(flow.keys->open.fragment_limit_bytes, 16384U);
  EXPECT_EQ(abi::to_string(flow.keys->backend), "10.99.2.2:8080");
  harness.exchange(client, flow);
  EXPECT_EQ(harness.service->in_flight(), 0U);
  EXPECT_EQ(harness.stats.done.load(), 1U);
}

TEST_P(HandOver, DataRightBehindFinished) {
  // In TLS 1.2 the client's Finished is the last of a resumed handshake only.
  Harness harness(everything());
  std::vector<std::unique_ptr<Client>> clients;  // their sessions are used again
  ClientOptions again = options();
  for (const size_t length : {size_t{0}, size_t{1}, size_t{700}, size_t{40'000}}) {
    Client& client = *clients.emplace_back(std::make_unique<Client>(again));
    FakeFlow& flow = harness.worker.begin();
    const std::string early(length, 'e');
    harness.run(client, flow, early);
    harness.exchange(client, flow, early);
    EXPECT_EQ(SSL_session_reused(client.ssl()), length == 0 ? 0 : 1);
    if (client.session() != nullptr) again.session = client.session();
  }
  EXPECT_EQ(harness.stats.resumed.load(), 3U);
}

TEST_P(HandOverTls13, TicketCounts) {
  for (const size_t tickets : {0U, 1U, 2U, 5U}) {
    Harness harness(everything());
    SSL_CTX_set_num_tickets(harness.context->ssl_context(), tickets);
    Client client(options());
    FakeFlow& flow = harness.worker.begin();
    harness.run(client, flow, "early");
    ASSERT_TRUE(flow.keys.has_value());
    EXPECT_EQ(flow.keys->seal.sequence, tickets);
    harness.exchange(client, flow, "early");
  }
}

TEST_P(HandOverTls13, HelloRetryRequest) {
  Harness harness(everything());
  ClientOptions retry = options();
  retry.groups = "P-521:P-256";  // a key share only for P-521, which is not served
  Client client(retry);
  FakeFlow& flow = harness.worker.begin();
  harness.run(client, flow, "early");
  harness.exchange(client, flow, "early");
}

TEST_P(HandOverTls13, WithoutMiddleboxCompatibility) {
  Harness harness(everything());
  ClientOptions plain = options();
  plain.middlebox_compatibility = false;
  Client client(plain);
  FakeFlow& flow = harness.worker.begin();
  harness.run(client, flow);
  harness.exchange(client, flow);
}

TEST_P(HandOverLegacy, SessionIdResumption) {
  Harness harness(everything());
  ClientOptions no_ticket = options();
  no_ticket.session_tickets = false;
  Client first(no_ticket);
  FakeFlow& first_flow = harness.worker.begin();
  harness.run(first, first_flow);
  ASSERT_NE(first.session(), nullptr);
  no_ticket.session = first.session();
  Client second(no_ticket);
  FakeFlow& flow = harness.worker.begin();
  harness.run(second, flow, "early");
  harness.exchange(second, flow, "early");
  EXPECT_EQ(SSL_session_reused(second.ssl()), 1);
}

TEST_P(HandOver, MaximumFragmentLength) {
  Harness harness(everything());
  std::vector<std::unique_ptr<Client>> clients;
  ClientOptions again = options();
  for (int round = 0; round < 2; ++round) {  // full, then resumed
    Client& client = *clients.emplace_back(std::make_unique<Client>(again));
    SSL_set_tlsext_max_fragment_length(client.ssl(), TLSEXT_max_fragment_length_512);
    FakeFlow& flow = harness.worker.begin();
    harness.run(client, flow);
    ASSERT_TRUE(flow.keys.has_value());
    EXPECT_EQ(flow.keys->seal.fragment_limit_bytes, 512U);
    EXPECT_EQ(flow.keys->open.fragment_limit_bytes, 512U);
    if (tls13()) {
      // Records, not tickets: two behind a full handshake, one behind another.
      EXPECT_GE(flow.keys->seal.sequence, round == 0 ? 2U : 1U);
    }
    RecordLayer records(*flow.keys);
    client.input(records.seal(23, std::string(512, 'h')));
    EXPECT_EQ(client.read(), std::string(512, 'h'));
    EXPECT_EQ(SSL_session_reused(client.ssl()), round);
    if (client.session() != nullptr) again.session = client.session();
  }
}

TEST_P(HandOver, ManyAtOnceInterleaved) {
  constexpr size_t kClients = 8;
  Harness harness(everything());
  std::vector<std::unique_ptr<Client>> clients;
  std::vector<FakeFlow*> flows;
  for (size_t i = 0; i < kClients; ++i) {
    clients.push_back(std::make_unique<Client>(options()));
    flows.push_back(&harness.worker.begin());
  }
  for (int turn = 0; turn < 6; ++turn) {
    for (size_t i = 0; i < kClients; ++i) {
      clients[i]->advance();
      harness.worker.client_sends(*flows[i], clients[i]->take_output());
    }
    harness.settle();
    for (size_t i = 0; i < kClients; ++i) {
      clients[i]->input(flows[i]->to_client);
      flows[i]->to_client.clear();
    }
  }
  for (size_t i = 0; i < kClients; ++i) harness.exchange(*clients[i], *flows[i]);
}

// RFC 8449. Before TLS 1.3 the limit is that of a fragment; in TLS 1.3 it counts the content type.
TEST(RecordSizeLimit, IsAnsweredAndKept) {
  struct Row {
    uint16_t version;
    uint16_t limit;
    uint32_t fragment;  // 16,384: not answered, or no limit at all
    uint32_t answer;    // 0: none
  };
  constexpr Row kRows[] = {
      {TLS1_3_VERSION, 16385, 16384, 16385}, {TLS1_3_VERSION, 65535, 16384, 16385},
      {TLS1_3_VERSION, 1025, 1024, 16385},   {TLS1_3_VERSION, 513, 512, 16385},
      {TLS1_3_VERSION, 512, 16384, 0},       {TLS1_3_VERSION, 64, 16384, 0},
      {TLS1_2_VERSION, 16384, 16384, 16384}, {TLS1_2_VERSION, 1024, 1024, 16384},
      {TLS1_2_VERSION, 512, 512, 16384},     {TLS1_2_VERSION, 511, 16384, 0},
      {TLS1_VERSION, 600, 600, 16384},
  };
  Harness harness(everything());
  for (const Row& row : kRows) {
    ClientOptions options;
    options.version = row.version;
    if (row.version == TLS1_VERSION) options.suites = "AES128-SHA:@SECLEVEL=0";
    options.record_size_limit = {static_cast<uint8_t>(row.limit >> 8),
                                 static_cast<uint8_t>(row.limit)};
    std::unique_ptr<Client> kept;
    for (int round = 0; round < 2; ++round) {  // full, then resumed, where it is negotiated anew
      auto client = std::make_unique<Client>(options);
      FakeFlow& flow = harness.worker.begin();
      harness.run(*client, flow);
      ASSERT_TRUE(flow.keys.has_value()) << row.limit;
      EXPECT_EQ(client->record_size_limit(), row.answer) << row.limit;
      EXPECT_EQ(flow.keys->seal.fragment_limit_bytes, row.fragment) << row.limit;
      EXPECT_EQ(flow.keys->open.fragment_limit_bytes, 16384U);
      EXPECT_EQ(SSL_session_reused(client->ssl()), round) << row.limit;
      if (row.fragment < 16384) {
        EXPECT_LE(longest_protected_record(flow.sent), row.fragment + 1 + 16) << row.limit;
      }
      harness.exchange(*client, flow);
      if (round == 0) {
        ASSERT_NE(client->session(), nullptr);
        options.session = client->session();
        kept.swap(client);
      }
    }
  }
}

TEST(RecordSizeLimit, WrongValuesAreRefused) {
  struct Row {
    ByteVector body;
    int alert;
  };
  const Row rows[] = {
      {{0, 63}, SSL_AD_ILLEGAL_PARAMETER},
      {{0, 0}, SSL_AD_ILLEGAL_PARAMETER},
      {{16}, SSL_AD_DECODE_ERROR},
      {{0, 16, 0}, SSL_AD_DECODE_ERROR},
  };
  Harness harness(everything());
  for (const Row& row : rows) {
    for (const uint16_t version : {uint16_t{TLS1_2_VERSION}, uint16_t{TLS1_3_VERSION}}) {
      ClientOptions options;
      options.version = version;
      options.record_size_limit = row.body;
      Client client(options);
      FakeFlow& flow = harness.worker.begin();
      harness.run(client, flow);
      EXPECT_FALSE(flow.keys.has_value());
      EXPECT_EQ(client.alert_received(), row.alert);
    }
  }
}

// Both limits together: OpenSSL answers max_fragment_length, and so nothing else may be answered.
TEST(RecordSizeLimit, GivesWayToMaximumFragmentLength) {
  Harness harness(everything());
  for (const uint16_t version : {uint16_t{TLS1_2_VERSION}, uint16_t{TLS1_3_VERSION}}) {
    ClientOptions options;
    options.version = version;
    options.record_size_limit = {4, 0};
    Client client(options);
    SSL_set_tlsext_max_fragment_length(client.ssl(), TLSEXT_max_fragment_length_2048);
    FakeFlow& flow = harness.worker.begin();
    harness.run(client, flow);
    ASSERT_TRUE(flow.keys.has_value());
    EXPECT_EQ(client.record_size_limit(), 0U);
    EXPECT_EQ(flow.keys->seal.fragment_limit_bytes, 2048U);
    EXPECT_EQ(flow.keys->open.fragment_limit_bytes, 2048U);
  }
}

// A client that tries 0-RTT where none is offered: its early records are skipped, and belong to
// what the handshake consumed.
TEST(EarlyData, IsSkipped) {
  Harness harness(everything());
  ClientOptions options;
  Client first(options);
  FakeFlow& first_flow = harness.worker.begin();
  harness.run(first, first_flow);
  harness.exchange(first, first_flow);
  ASSERT_NE(first.session(), nullptr);
  SSL_SESSION_set_max_early_data(first.session(), 16'384);
  options.session = first.session();
  Client client(options);
  FakeFlow& flow = harness.worker.begin();
  size_t written = 0;
  ASSERT_EQ(SSL_write_early_data(client.ssl(), "zero", 4, &written), 1);
  harness.run(client, flow, "one");
  EXPECT_EQ(SSL_get_early_data_status(client.ssl()), SSL_EARLY_DATA_REJECTED);
  harness.exchange(client, flow, "one");
}

TEST(Resumption, StaysWithItsHost) {
  Harness harness(everything());
  for (const uint16_t version : {uint16_t{TLS1_2_VERSION}, uint16_t{TLS1_3_VERSION}}) {
    ClientOptions options;
    options.version = version;
    options.server_name = "dual.sluice.test";
    Client first(options);
    FakeFlow& first_flow = harness.worker.begin();
    harness.run(first, first_flow);
    harness.exchange(first, first_flow);
    ASSERT_NE(first.session(), nullptr);
    options.session = first.session();
    options.server_name = "ecdsa.sluice.test";
    Client second(options);
    FakeFlow& flow = harness.worker.begin();
    harness.run(second, flow);
    harness.exchange(second, flow);
    EXPECT_EQ(SSL_session_reused(second.ssl()), 0);
  }
}

}  // namespace
}  // namespace sluice::control::testing
