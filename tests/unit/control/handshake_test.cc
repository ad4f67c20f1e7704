// The hand-over: after each kind of handshake the installed keys must open what the client sends
// and seal what it can read, from the right sequence and nonce on.
#include <gtest/gtest.h>

#include "harness.h"

namespace sluice::control::testing {
namespace {

struct Case {
  const char* name;
  uint16_t version;
  const char* suite;
  uint16_t suite_id;
  const char* host;
};

constexpr Case kCases[] = {
    {"Tls13Aes128Rsa", TLS1_3_VERSION, "TLS_AES_128_GCM_SHA256", 0x1301, "rsa.sluice.test"},
    {"Tls13Aes128Ecdsa", TLS1_3_VERSION, "TLS_AES_128_GCM_SHA256", 0x1301, "ecdsa.sluice.test"},
    {"Tls13Aes256Rsa", TLS1_3_VERSION, "TLS_AES_256_GCM_SHA384", 0x1302, "rsa.sluice.test"},
    {"Tls13Aes256Ecdsa", TLS1_3_VERSION, "TLS_AES_256_GCM_SHA384", 0x1302, "ecdsa.sluice.test"},
    {"Tls12Aes128Rsa", TLS1_2_VERSION, "ECDHE-RSA-AES128-GCM-SHA256", 0xc02f, "rsa.sluice.test"},
    {"Tls12Aes128Ecdsa", TLS1_2_VERSION, "ECDHE-ECDSA-AES128-GCM-SHA256", 0xc02b,
     "ecdsa.sluice.test"},
    {"Tls12Aes256Rsa", TLS1_2_VERSION, "ECDHE-RSA-AES256-GCM-SHA384", 0xc030, "rsa.sluice.test"},
    {"Tls12Aes256Ecdsa", TLS1_2_VERSION, "ECDHE-ECDSA-AES256-GCM-SHA384", 0xc02c,
     "ecdsa.sluice.test"},
};

class HandOver : public ::testing::TestWithParam<Case> {
 protected:
  ClientOptions options() const {
    ClientOptions options;
    options.version = GetParam().version;
    options.suites = GetParam().suite;
    options.server_name = GetParam().host;
    return options;
  }
  bool tls13() const { return GetParam().version == TLS1_3_VERSION; }
};

INSTANTIATE_TEST_SUITE_P(Suites, HandOver, ::testing::ValuesIn(kCases),
                         [](const auto& row) { return row.param.name; });

std::vector<Case> cases_of(int version) {
  std::vector<Case> cases;
  for (const Case& row : kCases) {
    if (row.version == version) cases.push_back(row);
  }
  return cases;
}
class HandOverTls13 : public HandOver {};
INSTANTIATE_TEST_SUITE_P(Suites, HandOverTls13, ::testing::ValuesIn(cases_of(TLS1_3_VERSION)),
                         [](const auto& row) { return row.param.name; });
class HandOverTls12 : public HandOver {};
INSTANTIATE_TEST_SUITE_P(Suites, HandOverTls12, ::testing::ValuesIn(cases_of(TLS1_2_VERSION)),
                         [](const auto& row) { return row.param.name; });

TEST_P(HandOver, FullHandshake) {
  Harness harness;
  Client client(options());
  FakeFlow& flow = harness.worker.begin();
  harness.run(client, flow);
  ASSERT_TRUE(flow.keys.has_value());
  EXPECT_EQ(flow.keys->version, GetParam().version);
  EXPECT_EQ(flow.keys->suite, GetParam().suite_id);
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
  Harness harness;
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

TEST_P(HandOver, TicketCounts) {
  for (const size_t tickets : {0U, 1U, 2U, 5U}) {
    Harness harness;
    SSL_CTX_set_num_tickets(harness.context->ssl_context(), tickets);
    Client client(options());
    FakeFlow& flow = harness.worker.begin();
    harness.run(client, flow, "early");
    ASSERT_TRUE(flow.keys.has_value());
    if (tls13()) {
      EXPECT_EQ(flow.keys->seal.sequence, tickets);
    }
    harness.exchange(client, flow, "early");
  }
}

TEST_P(HandOverTls13, HelloRetryRequest) {
  Harness harness;
  ClientOptions retry = options();
  retry.groups = "P-521:P-256";  // a key share only for P-521, which is not served
  Client client(retry);
  FakeFlow& flow = harness.worker.begin();
  harness.run(client, flow, "early");
  harness.exchange(client, flow, "early");
}

TEST_P(HandOver, WithoutMiddleboxCompatibility) {
  Harness harness;
  ClientOptions plain = options();
  plain.middlebox_compatibility = false;
  Client client(plain);
  FakeFlow& flow = harness.worker.begin();
  harness.run(client, flow);
  harness.exchange(client, flow);
}

TEST_P(HandOverTls12, SessionIdResumption) {
  Harness harness;
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
  Harness harness;
  Client client(options());
  SSL_set_tlsext_max_fragment_length(client.ssl(), TLSEXT_max_fragment_length_512);
  FakeFlow& flow = harness.worker.begin();
  harness.run(client, flow);
  ASSERT_TRUE(flow.keys.has_value());
  EXPECT_EQ(flow.keys->seal.fragment_limit_bytes, 512U);
  EXPECT_EQ(flow.keys->open.fragment_limit_bytes, 512U);
  if (tls13()) {
    EXPECT_GE(flow.keys->seal.sequence, 2U);  // records, not tickets
  }
  RecordLayer records(*flow.keys);
  client.input(records.seal(23, "hello"));
  EXPECT_EQ(client.read(), "hello");
}

TEST_P(HandOver, ManyAtOnceInterleaved) {
  constexpr size_t kClients = 20;
  Harness harness;
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

// A client that tries 0-RTT where none is offered: its early records are skipped, and belong to
// what the handshake consumed.
TEST(EarlyData, IsSkipped) {
  Harness harness;
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
  Harness harness;
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
