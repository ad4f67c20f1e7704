// The record layer against libssl's: the server's keys are taken over after a real handshake.
#include <gtest/gtest.h>
#include <openssl/err.h>
#include <openssl/tls1.h>

#include "fixture.h"
#include "libssl_peer.h"
#include "tls/limits.h"
#include "tls/open.h"
#include "tls/post_handshake.h"
#include "tls/seal.h"

namespace sluice::tls::test {
namespace {

// Sluice's end of the connection to a libssl client.
class Server {
 public:
  explicit Server(const PeerOptions& options, uint32_t seed = 1) : peer(options), random(seed) {
    if (!install_keys(end.layer, peer.keys(), end.keys)) throw std::runtime_error("keys refused");
  }

  // Opens and handles everything that the client has sent; collects the data and gives replies
  // back. Ends at the first record that closes something.
  Bytes receive() {
    stream_ = peer.take_from_client();
    Bytes data;
    std::span<const uint8_t> rest = stream_;
    const RecordPhase phase = phase_of(end.keys);
    while (!rest.empty()) {
      const Frame frame = next_record(phase, rest);
      if (frame.verdict != Verdict::Accept || frame.record_bytes > rest.size()) {
        ADD_FAILURE() << "framing";
        break;
      }
      const auto pieces = cut(rest.first(frame.record_bytes), 1 + random() % 1460, random);
      rest = rest.subspan(frame.record_bytes);
      Bytes out(open_output_bytes(end.keys, frame.header.length));
      const OpenResult opened = open_record(end.layer, end.keys, pieces, out.data());
      last.kind = ActionKind::Close;
      last.refusal = opened.refusal;
      if (opened.verdict != Verdict::Accept) break;
      out.resize(opened.length);
      uint8_t reply[kMaxReplyBytes];
      last = handle_record(end.layer, end.keys, opened.type, out, reply);
      if (last.kind == ActionKind::Close || last.kind == ActionKind::PeerClosed) break;
      if (last.kind == ActionKind::Deliver) data.insert(data.end(), out.begin(), out.end());
      if (last.kind == ActionKind::Reply) peer.give_to_client({reply, last.reply_bytes});
    }
    return data;
  }

  void send(const Bytes& data) {
    std::span<const uint8_t> rest = data;
    while (!rest.empty()) {
      const size_t length = std::min<size_t>(rest.size(), 1 + random() % max_plaintext(end.keys));
      const auto pieces = cut(rest.first(length), 1 + random() % 1460, random);
      Bytes record(sealed_size(end.keys, static_cast<uint32_t>(length)));
      EXPECT_EQ(seal_record(end.layer, end.keys, ContentType::application_data, pieces,
                            record.data()),
                record.size());
      peer.give_to_client(record);
      rest = rest.subspan(length);
    }
  }

  void send_alert(Alert alert) {
    uint8_t out[kMaxReplyBytes];
    const uint32_t bytes = seal_alert(end.layer, end.keys, alert, out);
    peer.give_to_client({out, bytes});
  }

  bool client_writes(const Bytes& data) {
    if (data.empty()) return true;
    return SSL_write(peer.client(), data.data(), static_cast<int>(data.size())) ==
           static_cast<int>(data.size());
  }

  LibsslPeer peer;
  End end;
  std::mt19937 random;
  Action last;

 private:
  Bytes stream_;
};

PeerOptions tls13(const char* suite, uint32_t tickets = 0) { return {0x0304, suite, tickets, 0}; }

// Every suite of the table in every version that it is valid in, CBC with and without
// encrypt-then-MAC; and what else a handshake may agree on.
std::vector<PeerOptions> every_peer() {
  std::vector<PeerOptions> peers = {
      tls13("TLS_AES_128_GCM_SHA256", 3),
      {0x0303, "ECDHE-ECDSA-AES128-GCM-SHA256", 0, TLSEXT_max_fragment_length_512},
      {0x0304, "TLS_AES_256_GCM_SHA384", 2, TLSEXT_max_fragment_length_1024},
      {0x0302, "AES128-SHA", 0, TLSEXT_max_fragment_length_2048},
      {0x0301, "AES256-SHA", 0, TLSEXT_max_fragment_length_512},
  };
  for (const crypto::Suite& suite : crypto::all_suites()) {
    for (uint16_t version = 0x0301; version <= 0x0304; ++version) {
      if (!suite.is_valid_in(static_cast<TlsVersion>(version))) continue;
      peers.push_back({version, std::string(suite.openssl_name), 0, 0});
      if (suite.is_cbc()) peers.push_back({version, std::string(suite.openssl_name), 0, 0, false});
    }
  }
  return peers;
}

std::string name_of(const PeerOptions& options) {
  return options.ciphers + " in 3." + std::to_string(options.version & 0xff) +
         (options.encrypt_then_mac ? "" : " without EtM");
}

TEST(Libssl, DataBothWays) {
  for (const PeerOptions& options : every_peer()) {
    SCOPED_TRACE(name_of(options));
    Server server(options, 11);
    for (int round = 0; round < 16; ++round) {
      const Bytes up = random_bytes(1 + server.random() % 40000, server.random);
      ASSERT_TRUE(server.client_writes(up));
      ASSERT_EQ(server.receive(), up) << "round " << round;
      const Bytes down = random_bytes(1 + server.random() % 40000, server.random);
      server.send(down);
      ASSERT_EQ(server.peer.client_reads(), down) << "round " << round;
    }
  }
}

TEST(Libssl, PaddedRecords) {
  Server server(tls13("TLS_AES_128_GCM_SHA256"));
  SSL_set_block_padding(server.peer.client(), 512);
  for (int round = 0; round < 20; ++round) {
    const Bytes up = random_bytes(1 + server.random() % 2000, server.random);
    ASSERT_TRUE(server.client_writes(up));
    ASSERT_EQ(server.receive(), up);
  }
}

TEST(Libssl, KeyUpdatesBothWays) {
  for (const char* suite : {"TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384"}) {
    Server server(tls13(suite), 5);
    uint32_t asked = 0;
    for (int round = 0; round < 24; ++round) {
      const bool request = round % 2 == 0;
      ASSERT_EQ(SSL_key_update(server.peer.client(), request ? SSL_KEY_UPDATE_REQUESTED
                                                             : SSL_KEY_UPDATE_NOT_REQUESTED),
                1);
      asked += request ? 1U : 0U;
      const Bytes up = random_bytes(500, server.random);
      ASSERT_TRUE(server.client_writes(up));
      ASSERT_EQ(server.receive(), up) << round;
      EXPECT_EQ(server.end.keys.open.key_generation(), static_cast<uint32_t>(round) + 1);
      if (round % 5 == 0) {
        uint8_t out[kMaxReplyBytes];
        const uint32_t bytes = seal_key_update(server.end.layer, server.end.keys, out);
        ASSERT_GT(bytes, 0U);
        server.peer.give_to_client({out, bytes});
        ++asked;
      }
      EXPECT_EQ(server.end.keys.seal.key_generation(), asked);
      const Bytes down = random_bytes(3000, server.random);
      server.send(down);
      ASSERT_EQ(server.peer.client_reads(), down) << round;
    }
  }
}

TEST(Libssl, CloseNotifyBothWays) {
  for (const PeerOptions& options : every_peer()) {
    SCOPED_TRACE(name_of(options));
    Server server(options);
    server.send_alert(Alert::close_notify);
    EXPECT_TRUE(server.peer.client_reads().empty());
    EXPECT_EQ(SSL_get_shutdown(server.peer.client()), SSL_RECEIVED_SHUTDOWN);
    EXPECT_EQ(SSL_shutdown(server.peer.client()), 1);
    (void)server.receive();
    EXPECT_EQ(server.last.kind, ActionKind::PeerClosed);
  }
}

TEST(Libssl, AlertsAreUnderstood) {
  const std::pair<Alert, int> rows[] = {
      {Alert::bad_record_mac, SSL_R_SSLV3_ALERT_BAD_RECORD_MAC},
      {Alert::record_overflow, SSL_R_TLSV1_ALERT_RECORD_OVERFLOW},
      {Alert::unexpected_message, SSL_R_SSLV3_ALERT_UNEXPECTED_MESSAGE},
      {Alert::decode_error, SSL_R_TLSV1_ALERT_DECODE_ERROR},
  };
  for (const PeerOptions& options : every_peer()) {
    SCOPED_TRACE(name_of(options));
    for (const auto& [alert, reason] : rows) {
      Server server(options);
      ERR_clear_error();
      server.send_alert(alert);
      EXPECT_TRUE(server.peer.client_reads().empty());
      EXPECT_EQ(ERR_GET_REASON(ERR_peek_last_error()), reason) << alert_name(uint8_t(alert));
    }
  }
}

// The client finds our record forged: its fatal alert reaches us by name.
TEST(Libssl, FatalAlertOfTheClient) {
  for (const PeerOptions& options : every_peer()) {
    SCOPED_TRACE(name_of(options));
    Server server(options);
    const Bytes text = {'!'};
    const ConstPiece piece{text.data(), 1};
    Bytes record(sealed_size(server.end.keys, 1));
    ASSERT_GT(seal_record(server.end.layer, server.end.keys, ContentType::application_data,
                          {&piece, 1}, record.data()),
              0U);
    record.back() ^= 1;
    server.peer.give_to_client(record);
    EXPECT_TRUE(server.peer.client_reads().empty());
    (void)server.receive();
    EXPECT_EQ(server.last.kind, ActionKind::Close);
    EXPECT_EQ(server.last.refusal.reason, abi::CloseReason::client_alert);
    EXPECT_EQ(server.last.peer_alert, static_cast<uint8_t>(Alert::bad_record_mac));
  }
}

TEST(Libssl, RenegotiationIsRefused) {
  for (const PeerOptions& options : every_peer()) {
    if (options.version == 0x0304) continue;
    SCOPED_TRACE(name_of(options));
    Server server(options);
    ASSERT_EQ(SSL_renegotiate(server.peer.client()), 1);
    (void)SSL_do_handshake(server.peer.client());
    (void)server.receive();
    EXPECT_EQ(server.last.kind, ActionKind::Reply);
    ERR_clear_error();
    (void)SSL_do_handshake(server.peer.client());
    EXPECT_EQ(ERR_GET_REASON(ERR_peek_last_error()), SSL_R_NO_RENEGOTIATION);
  }
}

}  // namespace
}  // namespace sluice::tls::test
