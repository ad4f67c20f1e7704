#include "harness.h"

#include <gtest/gtest.h>
#include <openssl/err.h>

#include <stdexcept>

#include "control/handshake/policy.h"

namespace sluice::control::testing {
namespace {

using handshake::load_certificate;

HostConfig make_host(const TempDirectory& directory, const std::vector<std::string>& names,
                     const std::vector<Leaf>& leaves, uint32_t backend) {
  HostConfig host;
  host.names = names;
  host.backend = backend;
  for (const Leaf& leaf : leaves) {
    auto loaded = load_certificate(directory.file(leaf.chain), directory.file(leaf.key));
    if (!loaded) throw std::runtime_error(loaded.error().message);
    host.certificates.push_back(*loaded);
  }
  return host;
}

}  // namespace

TestPki::TestPki() {
  handshake::initialise_openssl();
  const Leaf rsa = ca.issue("rsa", TestKey::Rsa2048, {"rsa.sluice.test"});
  const Leaf ecdsa = ca.issue("ecdsa", TestKey::EcP256, {"ecdsa.sluice.test"});
  const Leaf dual_rsa = ca.issue("dual-rsa", TestKey::Rsa2048, {"dual.sluice.test"});
  const Leaf dual_ecdsa = ca.issue("dual-ecdsa", TestKey::EcP256, {"dual.sluice.test"});
  const Leaf wild = ca.issue("wild", TestKey::EcP384, {"*.wild.sluice.test"});
  for (const handshake::Preset& preset : handshake::policy_presets()) {
    config.policies.push_back(handshake::resolve_policy(preset.name, preset.spec).value());
    if (preset.name == handshake::kDefaultPolicy) {
      config.tls.policy = static_cast<uint32_t>(config.policies.size() - 1);
    }
  }
  for (const char* address : {"10.99.2.2:8080", "10.99.2.2:8081"}) {
    abi::config::BackendConfig backend;
    backend.name = address;
    abi::parse_socket_address(address, backend.address);
    config.dataplane.backends.push_back(backend);
  }
  config.hosts.push_back(make_host(directory, {"rsa.sluice.test"}, {rsa}, 0));
  config.hosts[0].is_default = true;
  config.hosts[0].alpn = {"h2", "http/1.1"};
  config.hosts[0].backend_by_alpn = {{"h2", 1}};
  config.hosts.push_back(make_host(directory, {"ecdsa.sluice.test"}, {ecdsa}, 0));
  config.hosts.push_back(make_host(directory, {"dual.sluice.test"}, {dual_rsa, dual_ecdsa}, 0));
  config.hosts.push_back(make_host(directory, {"*.wild.sluice.test"}, {wild}, 0));
  config.hosts.push_back(make_host(directory, {"exact.wild.sluice.test"}, {ecdsa}, 1));
  for (HostConfig& host : config.hosts) host.policy = config.tls.policy;
}

const TestPki& test_pki() {
  static const TestPki pki;
  return pki;
}

ControlConfig with_policy(const handshake::PolicySpec& spec) {
  ControlConfig config = test_pki().config;
  auto policy = handshake::resolve_policy("test", spec);
  if (!policy) throw std::runtime_error(policy.error().message);
  config.policies.push_back(std::move(*policy));
  config.tls.policy = static_cast<uint32_t>(config.policies.size() - 1);
  for (HostConfig& host : config.hosts) host.policy = config.tls.policy;
  return config;
}

Client::Client(const ClientOptions& options) {
  context_.reset(SSL_CTX_new(TLS_client_method()));
  SSL_CTX* const context = context_.get();
  SSL_CTX_set_security_level(context, 0);
  SSL_CTX_set_min_proto_version(
      context, options.minimum_version != 0 ? options.minimum_version : options.version);
  SSL_CTX_set_max_proto_version(context, options.version);
  if (!options.suites13.empty()) {
    SSL_CTX_set_ciphersuites(context, options.suites13.c_str());
  }
  if (options.fallback_scsv) SSL_CTX_set_mode(context, SSL_MODE_SEND_FALLBACK_SCSV);
  if (!options.suites.empty()) {
    if (options.suites.starts_with("TLS_")) {
      SSL_CTX_set_ciphersuites(context, options.suites.c_str());
    } else {
      SSL_CTX_set_cipher_list(context, options.suites.c_str());
    }
  }
  if (!options.groups.empty()) SSL_CTX_set1_groups_list(context, options.groups.c_str());
  if (!options.signature_algorithms.empty()) {
    SSL_CTX_set1_sigalgs_list(context, options.signature_algorithms.c_str());
  }
  if (!options.middlebox_compatibility) {
    SSL_CTX_clear_options(context, SSL_OP_ENABLE_MIDDLEBOX_COMPAT);
  }
  if (!options.session_tickets) SSL_CTX_set_options(context, SSL_OP_NO_TICKET);
  if (!options.encrypt_then_mac) SSL_CTX_set_options(context, SSL_OP_NO_ENCRYPT_THEN_MAC);
  if (!options.extended_master_secret) {
    SSL_CTX_set_options(context, SSL_OP_NO_EXTENDED_MASTER_SECRET);
  }
  offered_record_size_limit_ = options.record_size_limit;
  if (!options.record_size_limit.empty()) {
    constexpr unsigned kPlaces =
        SSL_EXT_CLIENT_HELLO | SSL_EXT_TLS1_2_SERVER_HELLO | SSL_EXT_TLS1_3_ENCRYPTED_EXTENSIONS;
    SSL_CTX_add_custom_ext(context, 28, kPlaces, on_add_limit, nullptr, this, on_limit, this);
  }
  SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
  SSL_CTX_sess_set_new_cb(context, on_session);
  SSL_CTX_set_verify(context, SSL_VERIFY_PEER, nullptr);
  X509_STORE_add_cert(SSL_CTX_get_cert_store(context), test_pki().ca.certificate());
  ssl_.reset(SSL_new(context));
  read_bio_ = BIO_new(BIO_s_mem());
  write_bio_ = BIO_new(BIO_s_mem());
  SSL_set_bio(ssl_.get(), read_bio_, write_bio_);
  if (!options.server_name.empty()) {
    SSL_set_tlsext_host_name(ssl_.get(), options.server_name.c_str());
  }
  std::vector<uint8_t> alpn;
  for (const std::string& protocol : options.alpn) {
    alpn.push_back(static_cast<uint8_t>(protocol.size()));
    alpn.insert(alpn.end(), protocol.begin(), protocol.end());
  }
  if (!alpn.empty()) {
    SSL_set_alpn_protos(ssl_.get(), alpn.data(), static_cast<unsigned>(alpn.size()));
  }
  if (options.session != nullptr) SSL_set_session(ssl_.get(), options.session);
  SSL_set_app_data(ssl_.get(), this);
  SSL_set_msg_callback(ssl_.get(), on_message);
  SSL_set_connect_state(ssl_.get());
}

// A session whose SSL goes without a close is not used again by OpenSSL.
Client::~Client() { SSL_set_shutdown(ssl_.get(), SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN); }

void Client::on_message(int write, int, int type, const void* bytes, size_t length, SSL* ssl,
                        void*) {
  if (write != 0) return;
  auto* self = static_cast<Client*>(SSL_get_app_data(ssl));
  const auto* data = static_cast<const uint8_t*>(bytes);
  if (type == SSL3_RT_ALERT && length == 2) self->alert_ = data[1];
  if (type == SSL3_RT_HANDSHAKE && length > 0 && data[0] == 2) ++self->server_hellos_;
}

int Client::on_add_limit(SSL*, unsigned, unsigned, const unsigned char** out, size_t* length, X509*,
                         size_t, int*, void* self) {
  const ByteVector& body = static_cast<Client*>(self)->offered_record_size_limit_;
  *out = body.data();
  *length = body.size();
  return 1;
}

int Client::on_limit(SSL*, unsigned, unsigned, const unsigned char* in, size_t length, X509*,
                     size_t, int*, void* self) {
  if (length != 2) return 0;
  static_cast<Client*>(self)->record_size_limit_ = uint32_t{in[0]} << 8 | in[1];
  return 1;
}

int Client::on_session(SSL* ssl, SSL_SESSION* session) {
  static_cast<Client*>(SSL_get_app_data(ssl))->session_.reset(session);
  return 1;  // we keep the reference
}

bool Client::advance() {
  ERR_clear_error();
  return SSL_do_handshake(ssl_.get()) == 1;
}

std::vector<uint8_t> Client::take_output() {
  std::vector<uint8_t> bytes(BIO_ctrl_pending(write_bio_));
  if (!bytes.empty()) BIO_read(write_bio_, bytes.data(), static_cast<int>(bytes.size()));
  return bytes;
}

void Client::input(const std::vector<uint8_t>& bytes) {
  if (!bytes.empty()) BIO_write(read_bio_, bytes.data(), static_cast<int>(bytes.size()));
}

void Client::write(const std::string& text) {
  EXPECT_EQ(SSL_write(ssl_.get(), text.data(), static_cast<int>(text.size())),
            static_cast<int>(text.size()));
}

std::string Client::read() {
  std::string out(65536, '\0');
  size_t total = 0;
  ERR_clear_error();
  while (total < out.size()) {
    const int got = SSL_read(ssl_.get(), out.data() + total, static_cast<int>(out.size() - total));
    if (got <= 0) break;
    total += static_cast<size_t>(got);
  }
  out.resize(total);
  return out;
}

Harness::Harness(ControlConfig with) : config(std::move(with)) {
  auto made_loop = Loop::create();
  if (!made_loop) throw std::runtime_error(made_loop.error());
  loop = std::move(*made_loop);
  auto made_context = handshake::Context::create(config);
  if (!made_context) throw std::runtime_error(made_context.error());
  context = std::move(*made_context);
  service = std::make_unique<handshake::Service>(config, *context, *loop, 1, stats);
  service->attach(worker.attachment());
}

void Harness::settle() {
  while (service->poll()) EXPECT_TRUE(worker.drain());
  EXPECT_TRUE(worker.drain());
}

void Harness::run(Client& client, FakeFlow& flow, const std::string& early_data) {
  bool written = false;
  for (int turn = 0; turn < 20; ++turn) {
    if (client.advance() && !written) {
      written = true;
      if (!early_data.empty()) client.write(early_data);
    }
    const std::vector<uint8_t> output = client.take_output();
    worker.client_sends(flow, output);
    settle();
    client.input(flow.to_client);
    const bool moved = !output.empty() || !flow.to_client.empty();
    flow.to_client.clear();
    if (!moved || (flow.keys && written)) break;
  }
  client.advance();  // an alert that has come is read
}

void Harness::exchange(Client& client, FakeFlow& flow, const std::string& early_data) {
  ASSERT_TRUE(flow.keys.has_value());
  ASSERT_EQ(flow.keys->consumed_bytes <= flow.stream.size(), true);
  RecordLayer records(*flow.keys);
  std::string received;
  std::vector<uint8_t> stream(flow.stream.begin() + flow.keys->consumed_bytes, flow.stream.end());
  const auto open_all = [&] {
    for (const auto& record : take_records(stream)) {
      const auto opened = records.open(record);
      ASSERT_TRUE(opened.has_value()) << "a record of the client does not open";
      if (opened->type == 23) received += opened->plaintext;
    }
  };
  open_all();
  EXPECT_EQ(received, early_data);
  for (int round = 0; round < 3; ++round) {
    const std::string up = "up " + std::to_string(round) + std::string(3000, 'u');
    const std::string down = "down " + std::to_string(round) + std::string(5000, 'd');
    received.clear();
    client.write(up);
    stream = client.take_output();
    open_all();
    EXPECT_EQ(received, up);
    client.input(records.seal(23, down));
    EXPECT_EQ(client.read(), down) << "a sealed record does not open at the client";
  }
}

}  // namespace sluice::control::testing
