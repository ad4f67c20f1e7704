// The policy as data. Ephemeral key exchange and AEAD alone: both TLS versions have forward secrecy
// and no padding to attack. The client's order of suites counts, since it knows whether it has AES
// in hardware and both key sizes cost us the same. X25519 goes first because it is the cheapest.
#include "control/handshake/policy.h"

#include <openssl/err.h>

namespace sluice::control::handshake {
namespace {

constexpr char kSuites13[] = "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384";
constexpr char kSuites12[] =
    "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:"
    "ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384";
constexpr char kGroups[] = "X25519:P-256:P-384";

constexpr uint64_t kOptions = SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION;

}  // namespace

void initialise_openssl() { OPENSSL_init_ssl(OPENSSL_INIT_NO_LOAD_CONFIG, nullptr); }

std::string apply_policy(SSL_CTX* context, const TlsConfig& tls) {
  SSL_CTX_clear_options(context, SSL_OP_CIPHER_SERVER_PREFERENCE);
  SSL_CTX_set_options(context, kOptions);
  SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS);
  SSL_CTX_set_verify(context, SSL_VERIFY_NONE, nullptr);
  const bool versions = SSL_CTX_set_min_proto_version(context, tls.minimum_version) == 1 &&
                        SSL_CTX_set_max_proto_version(context, tls.maximum_version) == 1;
  if (!versions) return "this OpenSSL does not support the configured TLS versions";
  if (SSL_CTX_set_ciphersuites(context, kSuites13) != 1 ||
      SSL_CTX_set_cipher_list(context, kSuites12) != 1) {
    return "this OpenSSL does not support AES-GCM";
  }
  if (SSL_CTX_set1_groups_list(context, kGroups) != 1) {
    return "this OpenSSL does not support X25519, P-256 and P-384";
  }
  return {};
}

}  // namespace sluice::control::handshake
