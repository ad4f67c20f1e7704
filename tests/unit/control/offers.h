// What clients offer and what Sluice must answer, one row each. A row is run against the engine
// without a worker: a real libssl client, one handshake (two for resumption), then bytes both ways
// under the keys that a worker would get.
//
// The answer is one line of text, so that a row reads as a sentence:
//   "1.3 TLS_AES_128_GCM_SHA256 X25519 ecdsa/sha256"       version, suite, group, signature
//   "1.2 AES128-SHA - -"                                   RSA key exchange: neither
//   "refused protocol_version unsupported_version"         alert to the client, stable code
// behind it, in this order, where they apply: "retried" (HelloRetryRequest), "sentinel-1.2" or
// "sentinel-1.1" (RFC 8446 4.1.3), "etm", "no-ems", "resumed". Whatever is the same for all is
// checked for all: secure renegotiation is signalled, nothing is compressed.
#pragma once

#include <gtest/gtest.h>

#include <ostream>
#include <string>

#include "harness.h"

namespace sluice::control::testing {

struct Offer {
  const char* policy;    // a preset, or one of policy_of() in offers.cc
  const char* host;      // "rsa", "ecdsa", "dual": below .sluice.test
  const char* versions;  // "1.2", "1.0-1.3"
  const char* suites;    // of all versions; empty: all that OpenSSL has
  const char* groups;    // empty: OpenSSL's default
  // Words: signatures=..., scsv, no-etm, no-ems, no-ticket, resume (what the first handshake gave).
  const char* more;
  const char* answer;
};
std::ostream& operator<<(std::ostream& out, const Offer& offer);

// What came of it, in the words above.
[[nodiscard]] std::string answer_to(const Offer& offer);

// Runs each row of the tables in offers_*test.cc.
class Offers : public ::testing::TestWithParam<Offer> {};

}  // namespace sluice::control::testing
