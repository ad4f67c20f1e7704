// What Sluice offers in a handshake: versions, cipher suites, groups. Limited to what a worker's
// record layer can carry on with afterwards.
#pragma once

#include <string>

#include "control/config.h"
#include "control/handshake/openssl_types.h"

namespace sluice::control::handshake {

// Empty, or a sentence about what this OpenSSL does not support.
[[nodiscard]] std::string apply_policy(SSL_CTX* context, const TlsConfig& tls);

// OpenSSL without openssl.cnf, which could load engines and change every default here. Before the
// first other call into OpenSSL, behind install_wiping_allocator; more than once is harmless.
void initialise_openssl();

}  // namespace sluice::control::handshake
