// Versions, suites, groups and signatures under each policy.
#include "offers.h"

#include <gtest/gtest.h>

namespace sluice::control::testing {
namespace {

constexpr char kModern[] = "modern-5.8";
constexpr char kIntermediate[] = "intermediate-5.8";
constexpr char kOld[] = "old-5.8";
constexpr char kEverything[] = "everything";

const char kOldVersion[] = "refused protocol_version unsupported_version";
const char kNoCipher[] = "refused handshake_failure no_shared_cipher";

const Offer kVersions[] = {
    {kModern, "rsa", "1.0", "", "", "", kOldVersion},
    {kModern, "rsa", "1.1", "", "", "", kOldVersion},
    {kModern, "rsa", "1.2", "", "", "", kOldVersion},
    {kModern, "ecdsa", "1.0-1.2", "", "", "", kOldVersion},
    {kModern, "rsa", "1.3", "", "", "", "1.3 TLS_AES_256_GCM_SHA384 X25519 rsa-pss/sha256"},
    {kModern, "ecdsa", "1.3", "", "", "", "1.3 TLS_AES_256_GCM_SHA384 X25519 ecdsa/sha256"},
    {kModern, "dual", "1.0-1.3", "", "", "", "1.3 TLS_AES_256_GCM_SHA384 X25519 ecdsa/sha256"},
    {kIntermediate, "rsa", "1.0", "", "", "", kOldVersion},
    {kIntermediate, "rsa", "1.1", "", "", "", kOldVersion},
    {kIntermediate, "ecdsa", "1.0-1.1", "", "", "", kOldVersion},
    {kIntermediate, "rsa", "1.2", "", "", "",
     "1.2 ECDHE-RSA-AES256-GCM-SHA384 X25519 rsa-pss/sha256 sentinel-1.2"},
    {kIntermediate, "ecdsa", "1.2", "", "", "",
     "1.2 ECDHE-ECDSA-AES256-GCM-SHA384 X25519 ecdsa/sha256 sentinel-1.2"},
    {kIntermediate, "rsa", "1.0-1.2", "", "", "",
     "1.2 ECDHE-RSA-AES256-GCM-SHA384 X25519 rsa-pss/sha256 sentinel-1.2"},
    {kIntermediate, "rsa", "1.2-1.3", "", "", "",
     "1.3 TLS_AES_256_GCM_SHA384 X25519 rsa-pss/sha256"},
    {kIntermediate, "dual", "1.3", "", "", "", "1.3 TLS_AES_256_GCM_SHA384 X25519 ecdsa/sha256"},
    {"only-1.2", "rsa", "1.3", "", "", "", kOldVersion},
    {"only-1.2", "rsa", "1.2-1.3", "", "", "",
     "1.2 ECDHE-RSA-AES256-GCM-SHA384 X25519 rsa-pss/sha256"},
    {kOld, "rsa", "1.0", "", "", "",
     "1.0 ECDHE-RSA-AES128-SHA X25519 rsa/md5-sha1 sentinel-1.1 etm"},
    {kOld, "rsa", "1.1", "", "", "",
     "1.1 ECDHE-RSA-AES128-SHA X25519 rsa/md5-sha1 sentinel-1.1 etm"},
    {kOld, "ecdsa", "1.0", "", "", "",
     "1.0 ECDHE-ECDSA-AES128-SHA X25519 ecdsa/sha1 sentinel-1.1 etm"},
    {kOld, "rsa", "1.2", "", "", "",
     "1.2 ECDHE-RSA-AES128-GCM-SHA256 X25519 rsa-pss/sha256 sentinel-1.2"},
    {kOld, "dual", "1.2", "", "", "",
     "1.2 ECDHE-ECDSA-AES128-GCM-SHA256 X25519 ecdsa/sha256 sentinel-1.2"},
    {kOld, "rsa", "1.0-1.3", "", "", "", "1.3 TLS_AES_128_GCM_SHA256 X25519 rsa-pss/sha256"},
    // RFC 7507: a fallback to less than both sides have is refused, and nothing else.
    {kIntermediate, "rsa", "1.2", "", "", "scsv",
     "refused inappropriate_fallback unsupported_version"},
    {kIntermediate, "rsa", "1.2-1.3", "", "", "scsv",
     "1.3 TLS_AES_256_GCM_SHA384 X25519 rsa-pss/sha256"},
    {"only-1.2", "rsa", "1.2", "", "", "scsv",
     "1.2 ECDHE-RSA-AES256-GCM-SHA384 X25519 rsa-pss/sha256"},
    {kOld, "rsa", "1.0", "", "", "scsv", "refused inappropriate_fallback unsupported_version"},
    {kOld, "rsa", "1.1", "", "", "scsv", "refused inappropriate_fallback unsupported_version"},
    {kModern, "rsa", "1.2", "", "", "scsv", kOldVersion},
};
INSTANTIATE_TEST_SUITE_P(Versions, Offers, ::testing::ValuesIn(kVersions));

const Offer kSuites[] = {
    {kModern, "rsa", "1.3", "TLS_AES_128_GCM_SHA256", "", "",
     "1.3 TLS_AES_128_GCM_SHA256 X25519 rsa-pss/sha256"},
    {kModern, "ecdsa", "1.3", "TLS_CHACHA20_POLY1305_SHA256", "", "",
     "1.3 TLS_CHACHA20_POLY1305_SHA256 X25519 ecdsa/sha256"},
    {kModern, "rsa", "1.3", "TLS_AES_128_CCM_SHA256", "", "", kNoCipher},
    {kModern, "rsa", "1.3", "TLS_AES_128_CCM_8_SHA256:TLS_AES_256_GCM_SHA384", "", "",
     "1.3 TLS_AES_256_GCM_SHA384 X25519 rsa-pss/sha256"},
    {"aes256", "rsa", "1.3", "TLS_AES_128_GCM_SHA256:TLS_CHACHA20_POLY1305_SHA256", "", "",
     kNoCipher},
    {"aes256", "rsa", "1.2", "ECDHE-RSA-AES128-GCM-SHA256", "", "", kNoCipher},
    {kIntermediate, "rsa", "1.2", "ECDHE-RSA-AES128-GCM-SHA256", "", "",
     "1.2 ECDHE-RSA-AES128-GCM-SHA256 X25519 rsa-pss/sha256 sentinel-1.2"},
    {kIntermediate, "rsa", "1.2", "ECDHE-RSA-CHACHA20-POLY1305", "", "",
     "1.2 ECDHE-RSA-CHACHA20-POLY1305 X25519 rsa-pss/sha256 sentinel-1.2"},
    {kIntermediate, "ecdsa", "1.2", "ECDHE-ECDSA-CHACHA20-POLY1305", "", "",
     "1.2 ECDHE-ECDSA-CHACHA20-POLY1305 X25519 ecdsa/sha256 sentinel-1.2"},
    {kIntermediate, "ecdsa", "1.2", "ECDHE-RSA-AES128-GCM-SHA256", "", "", kNoCipher},
    {kIntermediate, "rsa", "1.2", "ECDHE-ECDSA-AES128-GCM-SHA256", "", "", kNoCipher},
    {kIntermediate, "dual", "1.2", "ECDHE-RSA-AES128-GCM-SHA256", "", "",
     "1.2 ECDHE-RSA-AES128-GCM-SHA256 X25519 rsa-pss/sha256 sentinel-1.2"},
    {kIntermediate, "rsa", "1.2", "ECDHE-RSA-AES128-SHA256", "", "", kNoCipher},
    {kIntermediate, "rsa", "1.2", "AES128-GCM-SHA256", "", "", kNoCipher},
    {kIntermediate, "rsa", "1.2", "ECDHE-RSA-AES256-SHA:AES256-SHA", "", "", kNoCipher},
    {kOld, "rsa", "1.2", "AES128-GCM-SHA256", "", "", "1.2 AES128-GCM-SHA256 - - sentinel-1.2"},
    {kOld, "rsa", "1.2", "AES256-SHA256", "", "", "1.2 AES256-SHA256 - - sentinel-1.2 etm"},
    {kOld, "rsa", "1.2", "AES256-SHA256", "", "no-etm", "1.2 AES256-SHA256 - - sentinel-1.2"},
    {kOld, "rsa", "1.2", "ECDHE-RSA-AES256-SHA384", "", "",
     "1.2 ECDHE-RSA-AES256-SHA384 X25519 rsa-pss/sha256 sentinel-1.2 etm"},
    {kOld, "rsa", "1.0", "AES128-SHA", "", "", "1.0 AES128-SHA - - sentinel-1.1 etm"},
    {kOld, "rsa", "1.0", "AES128-SHA", "", "no-etm", "1.0 AES128-SHA - - sentinel-1.1"},
    {kOld, "rsa", "1.1", "AES256-SHA", "", "no-ems", "1.1 AES256-SHA - - sentinel-1.1 etm no-ems"},
    {kOld, "ecdsa", "1.2", "AES128-SHA", "", "", kNoCipher},
    {kOld, "rsa", "1.2", "DHE-RSA-AES128-SHA", "", "", kNoCipher},
    // Never, whatever the policy says.
    {kEverything, "rsa", "1.2", "NULL-SHA256:NULL-SHA", "", "", kNoCipher},
    {kEverything, "rsa", "1.2", "ADH-AES256-GCM-SHA384:AECDH-AES128-SHA", "", "", kNoCipher},
    {kEverything, "rsa", "1.2", "ECDHE-RSA-CAMELLIA128-SHA256", "", "", kNoCipher},
    {kEverything, "rsa", "1.2", "AES128-CCM:ECDHE-ARIA128-GCM-SHA256", "", "", kNoCipher},
    {kEverything, "rsa", "1.0", "AES128-SHA256:AES128-GCM-SHA256:NULL-SHA", "", "", kNoCipher},
    {kEverything, "rsa", "1.2", "DHE-RSA-AES128-SHA", "", "",
     "1.2 DHE-RSA-AES128-SHA ffdhe2048 rsa-pss/sha256 sentinel-1.2 etm"},
    {kEverything, "rsa", "1.0", "DHE-RSA-AES256-SHA", "", "",
     "1.0 DHE-RSA-AES256-SHA ffdhe2048 rsa/md5-sha1 sentinel-1.1 etm"},
    // Whose order counts.
    {kIntermediate, "rsa", "1.3", "TLS_CHACHA20_POLY1305_SHA256:TLS_AES_128_GCM_SHA256", "", "",
     "1.3 TLS_CHACHA20_POLY1305_SHA256 X25519 rsa-pss/sha256"},
    {"server-order", "rsa", "1.3", "TLS_CHACHA20_POLY1305_SHA256:TLS_AES_128_GCM_SHA256", "", "",
     "1.3 TLS_AES_128_GCM_SHA256 X25519 rsa-pss/sha256"},
    {"server-order", "rsa", "1.3", "TLS_AES_256_GCM_SHA384:TLS_AES_128_GCM_SHA256", "", "",
     "1.3 TLS_AES_128_GCM_SHA256 X25519 rsa-pss/sha256"},
    {"chacha-first", "rsa", "1.3", "TLS_CHACHA20_POLY1305_SHA256:TLS_AES_128_GCM_SHA256", "", "",
     "1.3 TLS_CHACHA20_POLY1305_SHA256 X25519 rsa-pss/sha256"},
    {"chacha-first", "rsa", "1.3",
     "TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256:TLS_AES_128_GCM_SHA256", "", "",
     "1.3 TLS_AES_128_GCM_SHA256 X25519 rsa-pss/sha256"},
    {"server-order", "rsa", "1.2", "ECDHE-RSA-CHACHA20-POLY1305:ECDHE-RSA-AES128-GCM-SHA256", "",
     "", "1.2 ECDHE-RSA-AES128-GCM-SHA256 X25519 rsa-pss/sha256 sentinel-1.2"},
    {"chacha-first", "rsa", "1.2", "ECDHE-RSA-CHACHA20-POLY1305:ECDHE-RSA-AES128-GCM-SHA256", "",
     "", "1.2 ECDHE-RSA-CHACHA20-POLY1305 X25519 rsa-pss/sha256 sentinel-1.2"},
    {"chacha-first", "rsa", "1.2", "ECDHE-RSA-AES256-GCM-SHA384:ECDHE-RSA-CHACHA20-POLY1305", "",
     "", "1.2 ECDHE-RSA-AES256-GCM-SHA384 X25519 rsa-pss/sha256 sentinel-1.2"},
};
INSTANTIATE_TEST_SUITE_P(Suites, Offers, ::testing::ValuesIn(kSuites));

const char k13Rsa[] = "TLS_AES_128_GCM_SHA256";
const char k12Rsa[] = "ECDHE-RSA-AES128-GCM-SHA256";
const char kNoGroup13[] = "refused handshake_failure no_shared_group";

const Offer kGroups[] = {
    {kIntermediate, "rsa", "1.3", k13Rsa, "P-256", "",
     "1.3 TLS_AES_128_GCM_SHA256 P-256 rsa-pss/sha256"},
    {kIntermediate, "rsa", "1.3", k13Rsa, "P-384", "",
     "1.3 TLS_AES_128_GCM_SHA256 P-384 rsa-pss/sha256"},
    {kIntermediate, "rsa", "1.3", k13Rsa, "P-521", "", kNoGroup13},
    {kIntermediate, "rsa", "1.3", k13Rsa, "X448:ffdhe2048", "", kNoGroup13},
    {kIntermediate, "rsa", "1.3", k13Rsa, "P-521:P-256", "",
     "1.3 TLS_AES_128_GCM_SHA256 P-256 rsa-pss/sha256 retried"},
    {kIntermediate, "ecdsa", "1.3", k13Rsa, "X448:X25519", "",
     "1.3 TLS_AES_128_GCM_SHA256 X25519 ecdsa/sha256 retried"},
    {"p384", "rsa", "1.3", k13Rsa, "X25519:P-256:P-384", "",
     "1.3 TLS_AES_128_GCM_SHA256 P-384 rsa-pss/sha256 retried"},
    {"p384", "rsa", "1.2", k12Rsa, "X25519:P-384", "",
     "1.2 ECDHE-RSA-AES128-GCM-SHA256 P-384 rsa-pss/sha256 sentinel-1.2"},
    {"p384", "rsa", "1.2", k12Rsa, "X25519:P-256", "", kNoCipher},
    {"ffdhe", "rsa", "1.3", k13Rsa, "ffdhe2048", "",
     "1.3 TLS_AES_128_GCM_SHA256 ffdhe2048 rsa-pss/sha256"},
    {"ffdhe", "rsa", "1.3", k13Rsa, "X25519:ffdhe3072", "",
     "1.3 TLS_AES_128_GCM_SHA256 ffdhe3072 rsa-pss/sha256 retried"},
    {kIntermediate, "rsa", "1.2", k12Rsa, "P-256", "",
     "1.2 ECDHE-RSA-AES128-GCM-SHA256 P-256 rsa-pss/sha256 sentinel-1.2"},
    {kIntermediate, "rsa", "1.2", k12Rsa, "P-521", "", kNoCipher},
    // RFC 7919 4: DHE by what the client lists; with FFDHE groups that are not ours, not at all.
    {kIntermediate, "rsa", "1.2", "DHE-RSA-AES128-GCM-SHA256", "", "",
     "1.2 DHE-RSA-AES128-GCM-SHA256 ffdhe2048 rsa-pss/sha256 sentinel-1.2"},
    {kIntermediate, "rsa", "1.2", "DHE-RSA-AES256-GCM-SHA384", "X25519", "",
     "1.2 DHE-RSA-AES256-GCM-SHA384 ffdhe2048 rsa-pss/sha256 sentinel-1.2"},
    // libssl lists FFDHE groups only where it offers TLS 1.3.
    {"only-1.2", "rsa", "1.2-1.3", "DHE-RSA-AES256-GCM-SHA384", "", "",
     "1.2 DHE-RSA-AES256-GCM-SHA384 ffdhe2048 rsa-pss/sha256"},
    {"only-1.2", "rsa", "1.2-1.3", "DHE-RSA-CHACHA20-POLY1305:ECDHE-RSA-AES128-GCM-SHA256",
     "X25519:ffdhe3072", "", "1.2 DHE-RSA-CHACHA20-POLY1305 ffdhe3072 rsa-pss/sha256"},
    {"only-1.2", "rsa", "1.2-1.3", "DHE-RSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256",
     "X25519:ffdhe4096", "", "1.2 ECDHE-RSA-AES128-GCM-SHA256 X25519 rsa-pss/sha256"},
    {"only-1.2", "rsa", "1.2-1.3", "DHE-RSA-AES128-GCM-SHA256", "X25519:ffdhe8192:ffdhe6144", "",
     kNoCipher},
    {"ffdhe3072", "rsa", "1.2", "DHE-RSA-AES128-GCM-SHA256", "X25519", "",
     "1.2 DHE-RSA-AES128-GCM-SHA256 ffdhe3072 rsa-pss/sha256 sentinel-1.2"},
    {kIntermediate, "ecdsa", "1.2", "DHE-RSA-AES128-GCM-SHA256", "", "", kNoCipher},
};
INSTANTIATE_TEST_SUITE_P(Groups, Offers, ::testing::ValuesIn(kGroups));

const char kNoSignature[] = "refused handshake_failure no_shared_signature";

const Offer kSignatures[] = {
    {kIntermediate, "rsa", "1.3", k13Rsa, "", "signatures=rsa_pss_rsae_sha512",
     "1.3 TLS_AES_128_GCM_SHA256 X25519 rsa-pss/sha512"},
    {kIntermediate, "rsa", "1.3", k13Rsa, "", "signatures=rsa_pkcs1_sha256", kNoSignature},
    {kIntermediate, "rsa", "1.3", k13Rsa, "", "signatures=ecdsa_secp256r1_sha256", kNoSignature},
    {kIntermediate, "ecdsa", "1.3", k13Rsa, "", "signatures=rsa_pss_rsae_sha256", kNoSignature},
    {kIntermediate, "ecdsa", "1.3", k13Rsa, "", "signatures=ecdsa_secp384r1_sha384", kNoSignature},
    {kIntermediate, "dual", "1.3", k13Rsa, "", "signatures=rsa_pss_rsae_sha256",
     "1.3 TLS_AES_128_GCM_SHA256 X25519 rsa-pss/sha256"},
    {kIntermediate, "dual", "1.3", k13Rsa, "",
     "signatures=ecdsa_secp256r1_sha256:rsa_pss_rsae_sha256",
     "1.3 TLS_AES_128_GCM_SHA256 X25519 ecdsa/sha256"},
    {kIntermediate, "rsa", "1.2", k12Rsa, "", "signatures=rsa_pkcs1_sha384",
     "1.2 ECDHE-RSA-AES128-GCM-SHA256 X25519 rsa/sha384 sentinel-1.2"},
    {kIntermediate, "rsa", "1.2", k12Rsa, "", "signatures=rsa_pkcs1_sha1", kNoSignature},
    {kOld, "rsa", "1.2", k12Rsa, "", "signatures=rsa_pkcs1_sha1",
     "1.2 ECDHE-RSA-AES128-GCM-SHA256 X25519 rsa/sha1 sentinel-1.2"},
    {kOld, "ecdsa", "1.2", "ECDHE-ECDSA-AES256-SHA", "", "signatures=ECDSA+SHA1",
     "1.2 ECDHE-ECDSA-AES256-SHA X25519 ecdsa/sha1 sentinel-1.2 etm"},
};
INSTANTIATE_TEST_SUITE_P(Signatures, Offers, ::testing::ValuesIn(kSignatures));

}  // namespace
}  // namespace sluice::control::testing
