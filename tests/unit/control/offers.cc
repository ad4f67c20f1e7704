#include "offers.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <map>
#include <sstream>

namespace sluice::control::testing {
namespace {

using handshake::Failure;
using handshake::PolicySpec;
using handshake::Progress;
using handshake::Session;

// Beside the presets.
PolicySpec policy_of(const std::string& name) {
  if (const PolicySpec* preset = handshake::find_preset(name)) return *preset;
  PolicySpec spec = *handshake::find_preset("intermediate-5.8");
  if (name == "server-order") spec.preference = handshake::Preference::Server;
  if (name == "chacha-first") spec.preference = handshake::Preference::ChachaFirst;
  if (name == "only-1.2") spec.maximum_version = TLS1_2_VERSION;
  if (name == "p384") spec.groups = "P-384";
  if (name == "ffdhe") spec.groups = "ffdhe3072:ffdhe2048";
  if (name == "ffdhe3072") spec.dh_groups = "ffdhe3072";
  if (name == "aes256") {
    spec.ciphers = "ECDHE+AES256+AESGCM";
    spec.ciphersuites = "TLS_AES_256_GCM_SHA384";
  }
  if (name == "everything") {
    spec = *handshake::find_preset("old-5.8");
    spec.ciphers = "ALL:@SECLEVEL=0";
    spec.groups = "X25519:P-256:P-384:P-521:X448:ffdhe2048:ffdhe3072";
    spec.preference = handshake::Preference::Client;
  }
  return spec;
}

// One engine for each policy, made when it is first asked for.
struct Server {
  explicit Server(const std::string& policy) : config(with_policy(policy_of(policy))) {
    auto made = handshake::Context::create(config);
    if (!made) throw std::runtime_error(made.error());
    context = std::move(*made);
  }
  ControlConfig config;
  std::unique_ptr<handshake::Context> context;
};

Server& server_of(const std::string& policy) {
  static std::map<std::string, std::unique_ptr<Server>> servers;
  std::unique_ptr<Server>& server = servers[policy];
  if (!server) server = std::make_unique<Server>(policy);
  return *server;
}

uint16_t version_of(const std::string& text) {
  return static_cast<uint16_t>(TLS1_VERSION + (text.back() - '0'));
}

ClientOptions options_of(const Offer& offer) {
  ClientOptions options;
  const std::string versions = offer.versions;
  options.version = version_of(versions);
  options.minimum_version = version_of(versions.substr(0, 3));
  options.server_name = std::string(offer.host) + ".sluice.test";
  options.groups = offer.groups;
  for (const std::string& suite : handshake::split_names(offer.suites)) {
    std::string& list = suite.starts_with("TLS_") ? options.suites13 : options.suites;
    list += (list.empty() ? "" : ":") + suite;
  }
  if (*offer.suites == '\0') options.suites = "ALL";
  std::istringstream words(offer.more);
  for (std::string word; words >> word;) {
    if (word.starts_with("signatures=")) options.signature_algorithms = word.substr(11);
    if (word == "scsv") options.fallback_scsv = true;
    if (word == "no-etm") options.encrypt_then_mac = false;
    if (word == "no-ems") options.extended_master_secret = false;
    if (word == "no-ticket") options.session_tickets = false;
  }
  return options;
}

struct Result {
  Progress progress = Progress::NeedRecord;
  Session session;
  Failure failure;
  ByteVector behind;  // what the client sent behind its handshake
};

// Record by record, as a worker hands them over.
void drive(Client& client, handshake::Handshake& server, Result& result) {
  ByteVector stream;
  for (int turn = 0; turn < 20 && result.progress == Progress::NeedRecord; ++turn) {
    client.advance();
    const ByteVector output = client.take_output();
    stream.insert(stream.end(), output.begin(), output.end());
    ByteVector answer;
    for (const ByteVector& record : take_records(stream)) {
      if (result.progress != Progress::NeedRecord) {
        result.behind.insert(result.behind.end(), record.begin(), record.end());
        continue;
      }
      result.progress = server.feed(record, answer);
    }
    if (output.empty() && answer.empty()) break;
    client.input(answer);
  }
  client.advance();
  if (result.progress == Progress::Done) server.take_session(result.session);
  result.failure = server.failure();
}

std::string group_of(Client& client) {
  EVP_PKEY* key = nullptr;
  if (SSL_get_peer_tmp_key(client.ssl(), &key) != 1) return "-";
  const handshake::KeyPtr owner(key);
  char name[64] = {};
  if (EVP_PKEY_get_group_name(key, name, sizeof name, nullptr) != 1) {
    return EVP_PKEY_get0_type_name(key);
  }
  const std::string group = name;
  if (group == "prime256v1") return "P-256";
  if (group == "secp384r1") return "P-384";
  if (group == "secp521r1") return "P-521";
  return group;
}

std::string signature_of(Client& client) {
  int key = NID_undef;
  int digest = NID_undef;
  SSL_get_peer_signature_type_nid(client.ssl(), &key);
  SSL_get_peer_signature_nid(client.ssl(), &digest);
  const char* name = key == EVP_PKEY_RSA_PSS ? "rsa-pss"
                     : key == EVP_PKEY_RSA   ? "rsa"
                     : key == EVP_PKEY_EC    ? "ecdsa"
                                             : nullptr;
  if (name == nullptr) return "-";
  std::string text = digest == NID_undef ? "none" : OBJ_nid2sn(digest);
  std::transform(text.begin(), text.end(), text.begin(), [](char c) { return std::tolower(c); });
  return std::string(name) + "/" + text;
}

std::string sentinel_of(Client& client) {
  uint8_t random[32];
  SSL_get_server_random(client.ssl(), random, sizeof random);
  if (std::memcmp(random + 24, "DOWNGRD\x01", 8) == 0) return " sentinel-1.2";
  if (std::memcmp(random + 24, "DOWNGRD\x00", 8) == 0) return " sentinel-1.1";
  return "";
}

void expect_bytes_both_ways(Client& client, const Session& session, ByteVector stream) {
  abi::InstallKeys keys;
  keys.version = session.version;
  keys.suite = session.suite;
  keys.encrypt_then_mac = session.encrypt_then_mac;
  keys.open = session.open;
  keys.seal = session.seal;
  RecordLayer records(keys);
  client.write("up");
  const ByteVector output = client.take_output();
  stream.insert(stream.end(), output.begin(), output.end());
  std::string received;
  for (const ByteVector& record : take_records(stream)) {
    const auto opened = records.open(record);
    ASSERT_TRUE(opened.has_value()) << "a record of the client does not open";
    if (opened->type == 23) received += opened->plaintext;
  }
  EXPECT_EQ(received, "up");
  client.input(records.seal(23, "down"));
  EXPECT_EQ(client.read(), "down");
}

std::string describe(Client& client, Result& result) {
  if (result.progress != Progress::Done) {
    const int alert = client.alert_received();
    return "refused " +
           (alert < 0 ? std::string("silently")
                      : handshake::alert_name(static_cast<uint8_t>(alert))) +
           " " + handshake::failure_name(result.failure.code);
  }
  const Session& session = result.session;
  const bool tls13 = session.version == TLS1_3_VERSION;
  EXPECT_EQ(SSL_version(client.ssl()), session.version);
  EXPECT_TRUE(tls13 || SSL_get_secure_renegotiation_support(client.ssl()) == 1);
  EXPECT_EQ(SSL_get_current_compression(client.ssl()), nullptr);
  std::string text = std::string(handshake::version_name(session.version)) + " " +
                     SSL_get_cipher_name(client.ssl()) + " " + group_of(client) + " " +
                     signature_of(client);
  if (client.server_hellos() > 1) text += " retried";
  text += sentinel_of(client);
  if (session.encrypt_then_mac != 0) text += " etm";
  if (!tls13 && SSL_get_extms_support(client.ssl()) == 0) text += " no-ems";
  EXPECT_EQ(SSL_session_reused(client.ssl()) == 1, session.resumed);
  if (session.resumed) text += " resumed";
  expect_bytes_both_ways(client, session, result.behind);
  return text;
}

}  // namespace

std::ostream& operator<<(std::ostream& out, const Offer& offer) {
  return out << offer.policy << ", " << offer.host << ": TLS " << offer.versions << " "
             << offer.suites << " " << offer.groups << " " << offer.more;
}

std::string answer_to(const Offer& offer) {
  Server& server = server_of(offer.policy);
  ClientOptions options = options_of(offer);
  Client first(options);
  Result result;
  const std::unique_ptr<handshake::Handshake> handshake = server.context->begin();
  drive(first, *handshake, result);
  const std::string text = describe(first, result);
  if (std::string(offer.more).find("resume") == std::string::npos) return text;
  if (first.session() == nullptr) return text + ", and no session";
  options.session = first.session();
  Client second(options);
  Result again;
  const std::unique_ptr<handshake::Handshake> next = server.context->begin();
  drive(second, *next, again);
  return describe(second, again);
}

TEST_P(Offers, GetTheirAnswer) { EXPECT_EQ(answer_to(GetParam()), GetParam().answer); }

}  // namespace sluice::control::testing
